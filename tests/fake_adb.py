"""A stand-in for adb: a script that notes its calls and answers from a JSON file."""

import json
import pathlib
import sys

SCRIPT = """#!{python} -SE
import json, pathlib, sys
folder = pathlib.Path({folder!r})
state = json.loads((folder / "state.json").read_text())
words = sys.argv[1:]
with (folder / "calls.jsonl").open("a") as file:
    file.write(json.dumps(words) + "\\n")
if words == ["devices"]:
    print("List of devices attached")
    for serial, kind in state["devices"].items():
        print(serial + "\\t" + kind)
    sys.exit(0)
assert words[:2] == ["-s", state["serial"]], words
verb, rest = words[2], words[3:]
graphs = sum("--graph=" in line for line in (folder / "calls.jsonl").read_text().splitlines())
if state["gone_after"] is not None and graphs > state["gone_after"]:
    sys.exit("adb: device '" + state["serial"] + "' not found")
if verb == "push":
    missing = [name for name in rest[:-1] if not pathlib.Path(name).is_file()]
    assert not missing, missing
    (folder / "pushed").mkdir(exist_ok=True)
    for name in map(pathlib.Path, rest[:-1]):
        target = name.name if rest[-1].endswith("/") else pathlib.Path(rest[-1]).name
        (folder / "pushed" / target).write_bytes(name.read_bytes())
elif rest[0].startswith("getprop"):
    print("\\n".join(state["properties"].get(one.split()[1], "") for one in rest[0].split(";")))
elif rest[0].startswith("test -x"):
    sys.exit(0 if rest[0].split()[-1] in state["programs"] else 1)
elif "--graph=" in rest[0]:
    if state["fails"]:
        print(state["fails"], file=sys.stderr)
        sys.exit(1)
    graph = rest[0].split("--graph=")[1].split()[0]
    content = (folder / "pushed" / pathlib.Path(graph).name).read_bytes()
    milliseconds = json.loads(content)["ms"] if content.startswith(b"{{") else 1.2345
    print(state["output"].replace("MICROSECONDS", str(1000 * milliseconds)))
"""

OUTPUT = """STARTING!
Graph: [/data/local/tmp/0.tflite]
Initialized session in 0.855ms.
count=15 first=49060 curr=33682 min=32825 max=49060 avg=34825.1 std=3930 p5=1 median=2 p95=3
count=50 first=32891 curr=33978 min=32641 max=34005 avg=33209.4 std=450 p5=32700 median=MICROSECONDS p95=33900
Inference timings in us: Init: 855, First inference: 49060, Warmup (avg): 34825.1, Inference (avg): 33209.4
"""


class FakeAdb:
    """Writes the script `adb` to `folder`; attributes of `state` say what it answers."""

    def __init__(self, folder: pathlib.Path, **state):
        self.folder, self.path = folder, folder / "adb"
        folder.mkdir(parents=True, exist_ok=True)
        self.path.write_text(SCRIPT.format(python=sys.executable, folder=str(folder)))
        self.path.chmod(0o755)
        self.state = {
            "devices": {"PHONE1": "device"},
            "serial": "PHONE1",
            "programs": ["/data/local/tmp/benchmark_model"],
            "properties": {
                "ro.product.manufacturer": "Example",
                "ro.product.model": "Phone 9",
                "ro.product.cpu.abi": "arm64-v8a",
                "ro.build.version.release": "15",
            },
            "output": OUTPUT,
            "fails": "",
            "gone_after": None,
        }
        self.set(**state)

    def set(self, **state):
        self.state |= state
        (self.folder / "state.json").write_text(json.dumps(self.state))

    @property
    def calls(self) -> list[list[str]]:
        path = self.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
