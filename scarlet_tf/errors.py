"""InputError: what every module raises for bad input; the command line turns it into exit code 2."""


class InputError(ValueError):
    """Bad input from the user: the message names the key or file, what was expected and what came."""


class ChecksFailedError(RuntimeError):
    """What was checked does not hold; the command line turns it into exit code 1, without a traceback."""


class WorkerLostError(RuntimeError):
    """Another worker of a distributed training is gone; started again, all continue from the last checkpoint."""
