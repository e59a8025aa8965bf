"""Asks a model server to classify images over REST; needs Python's standard library alone.

    python export/serving/client.py --saved-model runs/digits/export/saved_model/1 photo.jpg [more images]

The images are sent as they are: the SavedModel's signature serving_bytes decodes and prepares them. Prints one line an image:
file, most likely class, probability. Exit code: 0 success, 2 no or no useful answer, or bad input.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import math
import pathlib
import sys
import urllib.error
import urllib.parse
import urllib.request


class ServerError(Exception):
    """The server does not answer, or not with predictions."""


def main(arguments: list[str] | None = None) -> int:
    """Parses the command line, asks, prints."""
    options = _parse(arguments)
    try:
        labels, is_probability = _about(options)
        contents = [path.read_bytes() for path in options.images]
        rows = []
        for start in range(0, len(contents), options.batch_size):
            batch = contents[start : start + options.batch_size]
            rows += predict(options.url, options.model, batch, options.timeout)
    except (ServerError, OSError, ValueError) as error:
        print(f"client: {error}", file=sys.stderr)
        return 2
    for path, scores in zip(options.images, rows, strict=True):
        probabilities = scores if is_probability else softmax(scores)
        best = max(range(len(scores)), key=scores.__getitem__)
        print(f"{path}\t{labels[best] if labels else best}\t{probabilities[best]:.3f}")
    return 0


def predict(url: str, model: str, contents: list[bytes], timeout: float) -> list[list[float]]:
    """The outputs [B][classes] for JPEG or PNG files. One that cannot be decoded fails all that are sent with it."""
    encoded = [{"b64": base64.b64encode(content).decode("ascii")} for content in contents]
    body = json.dumps({"signature_name": "serving_bytes", "inputs": {"encoded": encoded}}).encode()
    address = f"{url.rstrip('/')}/v1/models/{urllib.parse.quote(model, safe='')}:predict"
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            answer = json.load(response)
    except urllib.error.HTTPError as error:
        raise ServerError(f"{address}: HTTP {error.code}: {_reason(error)}") from error
    except urllib.error.URLError as error:
        raise ServerError(f"{address}: no answer: {error.reason}") from error
    except TimeoutError as error:
        raise ServerError(f"{address}: no answer within {timeout:g} s") from error
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise ServerError(f"{address}: expected JSON, got something else: {error}") from error
    return _outputs(answer, len(contents), address)


def softmax(logits: list[float]) -> list[float]:
    """Probabilities of one image's logits."""
    greatest = max(logits)
    powers = [math.exp(logit - greatest) for logit in logits]
    return [power / sum(powers) for power in powers]


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=pathlib.Path, nargs="+", help="JPEG or PNG files")
    parser.add_argument("--url", default="http://localhost:8501", help="the server (default: %(default)s)")
    parser.add_argument("--model", default="scarlet", help="its name in models.config (default: %(default)s)")
    parser.add_argument("--saved-model", type=pathlib.Path, metavar="DIR", help="the served folder, for its labels")
    parser.add_argument("--labels", type=pathlib.Path, metavar="FILE", help="labels, one a line, instead")
    parser.add_argument("--timeout", type=float, default=30, metavar="S", help="seconds to wait (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="images a request (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.batch_size < 1 or options.timeout <= 0:
        parser.error("expected --batch-size of at least 1 and --timeout above 0")
    if not options.url.startswith(("http://", "https://")):
        parser.error(f"--url: expected http://... or https://..., got {options.url}")
    return options


def _about(options: argparse.Namespace) -> tuple[list[str] | None, bool]:
    """(labels, whether the outputs are probabilities already) from the SavedModel's metadata and --labels."""
    labels, is_probability = None, False
    if options.saved_model is not None:
        path = options.saved_model / "assets.extra" / "metadata.json"
        try:
            metadata = json.loads(path.read_text(encoding="utf-8"))
            labels, is_probability = metadata["labels"], metadata["output"]["name"] == "probabilities"
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: expected the metadata of an exported SavedModel") from error
    if options.labels is not None:
        labels = options.labels.read_text(encoding="utf-8").splitlines()
    return labels, is_probability


def _outputs(answer, count: int, address: str) -> list[list[float]]:
    outputs = answer.get("outputs") if isinstance(answer, dict) else None
    if not isinstance(outputs, list) or len(outputs) != count:
        raise ServerError(f"{address}: expected outputs for {count} images, got {json.dumps(answer)[:200]}")
    return outputs


def _reason(error: urllib.error.HTTPError) -> str:
    """What the server says, from {"error": ...}, or else what its status means."""
    try:
        return json.loads(error.read())["error"]
    except (ValueError, KeyError, TypeError, OSError):
        return error.reason


if __name__ == "__main__":
    sys.exit(main())
