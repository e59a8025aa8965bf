# Written by tools/write_stub.py.
from scarlet_tf.assessment.comparison import compare as compare
from scarlet_tf.assessment.config import RankingConfig as RankingConfig
from scarlet_tf.assessment.ranking import rank as rank
from scarlet_tf.betanas.derive import derive as derive
from scarlet_tf.betanas.training import train_betanas as train_betanas
from scarlet_tf.cost import Cost as Cost
from scarlet_tf.cost import CostTable as CostTable
from scarlet_tf.cost import count as count
from scarlet_tf.errors import InputError as InputError
from scarlet_tf.evaluation.evaluator import Evaluator as Evaluator
from scarlet_tf.evaluation.scoring import evaluate as evaluate
from scarlet_tf.export.folding import fold as fold
from scarlet_tf.export.saved_model import export_saved_model as export_saved_model
from scarlet_tf.export.tflite import export_tflite as export_tflite
from scarlet_tf.export.verification import verify as verify
from scarlet_tf.models.features import DetectionHead as DetectionHead
from scarlet_tf.models.features import SegmentationHead as SegmentationHead
from scarlet_tf.models.features import feature_extractor as feature_extractor
from scarlet_tf.models.foreign.networks import architecture_from_blocks as architecture_from_blocks
from scarlet_tf.models.foreign.networks import network_from_blocks as network_from_blocks
from scarlet_tf.models.foreign.networks import network_from_file as network_from_file
from scarlet_tf.models.foreign.ofa import network_from_ofa as network_from_ofa
from scarlet_tf.models.network import Network as Network
from scarlet_tf.models.network import build_network as build_network
from scarlet_tf.models.network import load_network as load_network
from scarlet_tf.models.supernet import FairAccuracy as FairAccuracy
from scarlet_tf.models.supernet import FairCrossentropy as FairCrossentropy
from scarlet_tf.models.supernet import FairLanes as FairLanes
from scarlet_tf.models.supernet import Supernet as Supernet
from scarlet_tf.models.supernet import extract as extract
from scarlet_tf.models.torch_weights import load_torch_weights as load_torch_weights
from scarlet_tf.models.torch_weights import save_torch_weights as save_torch_weights
from scarlet_tf.models.zoo import FairNASA as FairNASA
from scarlet_tf.models.zoo import FairNASB as FairNASB
from scarlet_tf.models.zoo import FairNASC as FairNASC
from scarlet_tf.models.zoo import MobileNetV2 as MobileNetV2
from scarlet_tf.models.zoo import ScarletA as ScarletA
from scarlet_tf.models.zoo import ScarletA2 as ScarletA2
from scarlet_tf.models.zoo import ScarletA4 as ScarletA4
from scarlet_tf.models.zoo import ScarletB as ScarletB
from scarlet_tf.models.zoo import ScarletC as ScarletC
from scarlet_tf.models.zoo import build_zoo_network as build_zoo_network
from scarlet_tf.models.zoo import decode_predictions as decode_predictions
from scarlet_tf.models.zoo import preprocess_input as preprocess_input
from scarlet_tf.models.zoo_data import zoo_names as zoo_names
from scarlet_tf.optimization.config import OptimizationConfig as OptimizationConfig
from scarlet_tf.optimization.config import PruningConfig as PruningConfig
from scarlet_tf.optimization.config import QuantizationAwareConfig as QuantizationAwareConfig
from scarlet_tf.optimization.prune import prune as prune
from scarlet_tf.optimization.quantize_aware import quantize_aware as quantize_aware
from scarlet_tf.run.networks import register_network as register_network
from scarlet_tf.run.stages import write_report as write_report
from scarlet_tf.scaling import scale as scale
from scarlet_tf.search.config import BetaNASConfig as BetaNASConfig
from scarlet_tf.search.config import MutationConfig as MutationConfig
from scarlet_tf.search.config import SearchConfig as SearchConfig
from scarlet_tf.search.mutation import HierarchicalMutation as HierarchicalMutation
from scarlet_tf.search.mutation import UniformMutation as UniformMutation
from scarlet_tf.search.oracle import ArchitectureOracle as ArchitectureOracle
from scarlet_tf.search.oracle import WeightedNSGA2Oracle as WeightedNSGA2Oracle
from scarlet_tf.search.run import SearchResult as SearchResult
from scarlet_tf.search.run import search as search
from scarlet_tf.search.tuner import SupernetTuner as SupernetTuner
from scarlet_tf.space import Architecture as Architecture
from scarlet_tf.space import Choice as Choice
from scarlet_tf.space import SearchSpace as SearchSpace
from scarlet_tf.space import Stage as Stage
from scarlet_tf.spec import NetworkSpec as NetworkSpec
from scarlet_tf.training.config import FinetuneConfig as FinetuneConfig
from scarlet_tf.training.config import RetrainConfig as RetrainConfig
from scarlet_tf.training.config import SupernetConfig as SupernetConfig
from scarlet_tf.training.network import finetune as finetune
from scarlet_tf.training.network import retrain as retrain
from scarlet_tf.training.supernet import train_supernet as train_supernet

__version__: str
__all__ = [
    "Architecture",
    "ArchitectureOracle",
    "BetaNASConfig",
    "Choice",
    "Cost",
    "CostTable",
    "DetectionHead",
    "Evaluator",
    "FairAccuracy",
    "FairCrossentropy",
    "FairLanes",
    "FairNASA",
    "FairNASB",
    "FairNASC",
    "FinetuneConfig",
    "HierarchicalMutation",
    "InputError",
    "MobileNetV2",
    "MutationConfig",
    "Network",
    "NetworkSpec",
    "OptimizationConfig",
    "PruningConfig",
    "QuantizationAwareConfig",
    "RankingConfig",
    "RetrainConfig",
    "ScarletA",
    "ScarletA2",
    "ScarletA4",
    "ScarletB",
    "ScarletC",
    "SearchConfig",
    "SearchResult",
    "SearchSpace",
    "SegmentationHead",
    "Stage",
    "Supernet",
    "SupernetConfig",
    "SupernetTuner",
    "UniformMutation",
    "WeightedNSGA2Oracle",
    "architecture_from_blocks",
    "build_network",
    "build_zoo_network",
    "compare",
    "count",
    "decode_predictions",
    "derive",
    "evaluate",
    "export_saved_model",
    "export_tflite",
    "extract",
    "feature_extractor",
    "finetune",
    "fold",
    "load_network",
    "load_torch_weights",
    "network_from_blocks",
    "network_from_file",
    "network_from_ofa",
    "preprocess_input",
    "prune",
    "quantize_aware",
    "rank",
    "register_network",
    "retrain",
    "save_torch_weights",
    "scale",
    "search",
    "train_betanas",
    "train_supernet",
    "verify",
    "write_report",
    "zoo_names",
]
