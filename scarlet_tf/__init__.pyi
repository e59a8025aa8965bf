"""The public names, each with the module that defines it; the package reads this list, as type checkers and editors do."""

from . import applications as applications
from .assessment.comparison import compare as compare
from .assessment.ranking import rank as rank
from .base.errors import InputError as InputError
from .betanas.training import train_betanas as train_betanas
from .evaluation.evaluator import Evaluator as Evaluator
from .evaluation.scoring import evaluate as evaluate
from .export.folding import fold as fold
from .export.saved_model import export_saved_model as export_saved_model
from .export.tflite import export_tflite as export_tflite
from .export.verification import verify as verify
from .models.features import feature_extractor as feature_extractor
from .models.foreign.networks import network_from_file as network_from_file
from .models.network import Network as Network
from .models.network import build_network as build_network
from .models.network import load_network as load_network
from .models.supernet import Supernet as Supernet
from .models.supernet import extract as extract
from .models.torch_weights import load_torch_weights as load_torch_weights
from .models.torch_weights import save_torch_weights as save_torch_weights
from .models.zoo import FairNASA as FairNASA
from .models.zoo import FairNASB as FairNASB
from .models.zoo import FairNASC as FairNASC
from .models.zoo import ScarletA as ScarletA
from .models.zoo import ScarletB as ScarletB
from .models.zoo import ScarletC as ScarletC
from .optimization.optimize import prune as prune
from .optimization.optimize import quantize_aware as quantize_aware
from .parents.around import space_around as space_around
from .parents.loading import parent as parent
from .parents.parent import Parent as Parent
from .race.race import race as race
from .run.networks import register_network as register_network
from .run.stages import write_report as write_report
from .search.config import SearchConfig as SearchConfig
from .search.oracle import WeightedNSGA2Oracle as WeightedNSGA2Oracle
from .search.run import SearchResult as SearchResult
from .search.run import search as search
from .search.tuner import SupernetTuner as SupernetTuner
from .space.choices import Choice as Choice
from .space.choices import Stage as Stage
from .space.cost import CostTable as CostTable
from .space.cost import count as count
from .space.scaling import scale as scale
from .space.search_space import Architecture as Architecture
from .space.search_space import SearchSpace as SearchSpace
from .space.spec import NetworkSpec as NetworkSpec
from .training.config import RetrainConfig as RetrainConfig
from .training.config import SupernetConfig as SupernetConfig
from .training.network import finetune as finetune
from .training.network import retrain as retrain
from .training.supernet import train_supernet as train_supernet

__version__: str
__all__ = [
    "Architecture",
    "Choice",
    "CostTable",
    "Evaluator",
    "FairNASA",
    "FairNASB",
    "FairNASC",
    "InputError",
    "Network",
    "NetworkSpec",
    "Parent",
    "RetrainConfig",
    "ScarletA",
    "ScarletB",
    "ScarletC",
    "SearchConfig",
    "SearchResult",
    "SearchSpace",
    "Stage",
    "Supernet",
    "SupernetConfig",
    "SupernetTuner",
    "WeightedNSGA2Oracle",
    "applications",
    "build_network",
    "compare",
    "count",
    "evaluate",
    "export_saved_model",
    "export_tflite",
    "extract",
    "feature_extractor",
    "finetune",
    "fold",
    "load_network",
    "load_torch_weights",
    "network_from_file",
    "parent",
    "prune",
    "quantize_aware",
    "race",
    "rank",
    "register_network",
    "retrain",
    "save_torch_weights",
    "scale",
    "search",
    "space_around",
    "train_betanas",
    "train_supernet",
    "verify",
    "write_report",
]
