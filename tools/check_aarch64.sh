#!/usr/bin/env bash
# Runs export/classify.py under emulated aarch64, the processors of phones, and compares its answers with this machine's.
#
#     python tools/write_held_out.py runs/digits held_out
#     tools/check_aarch64.sh held_out runs/digits/export/model_*.tflite
#
# The first argument is a folder with one folder of images a class, the others are exported files. The first call makes a
# Debian root (about 220 MB, once) in $SCARLET_AARCH64_ROOT, default ~/.cache/scarlet_tf/aarch64. $SCARLET_AARCH64_CORES
# names the cores, as qemu calls them; default "cortex-a53 cortex-a76", without and with 8-bit dot products. Needs
# qemu-user-static and mmdebstrap; $PYTHON (default: python) needs ai-edge-litert, numpy and pillow. Prints a table and
# one JSON object.
# Exit code: 0 all classes are the same and the logits of float files within 1e-4, 1 they are not, 2 bad input.
set -euo pipefail

readonly SUITE=bookworm PYTHON_VERSION=3.11
# ai-edge-litert 2.2 and 2.3 crash under this emulation.
readonly PACKAGES=(ai-edge-litert==2.1.6 'numpy>=2,<3' 'pillow>=10,<14')
readonly WANTED="$SUITE ${PACKAGES[*]}"
readonly ROOT=${SCARLET_AARCH64_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/scarlet_tf/aarch64}
# Not qemu's default core: with the SME instructions that qemu 7.2 gives it, files with 8-bit arithmetic answer nonsense.
read -ra CORES <<< "${SCARLET_AARCH64_CORES:-cortex-a53 cortex-a76}"
readonly PYTHON=${PYTHON:-python} CORES
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly TOOLS CLASSIFY=$TOOLS/../export/classify.py

refuse() {
    echo "check_aarch64: error: $*" >&2
    exit 2
}

usage() {
    sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p}' "${BASH_SOURCE[0]}"
}

check_tools() {
    local program
    for program in qemu-aarch64-static:qemu-user-static mmdebstrap:mmdebstrap; do
        command -v "${program%%:*}" > /dev/null || refuse "${program%%:*} was not found; install the package ${program##*:}"
    done
    "$PYTHON" -c 'import ai_edge_litert, numpy, PIL' 2> /dev/null \
        || refuse "$PYTHON has no ai-edge-litert, numpy and pillow; name another with PYTHON=..."
}

# Built beside its place and renamed, so that an interrupted call leaves no half root behind.
make_root() {
    [[ -f $ROOT/made-of && $(< "$ROOT/made-of") == "$WANTED" ]] && return
    local log=$ROOT.log partial=$ROOT.partial platform platforms=()
    mkdir -p "$(dirname "$ROOT")"
    rm -rf "$partial" "$ROOT"
    echo "making an arm64 root in $ROOT (once; about a minute)" >&2
    mmdebstrap --arch=arm64 --variant=extract --include=python3-minimal,libpython3-stdlib,libstdc++6 \
        "$SUITE" "$partial" > "$log" 2>&1 || { tail -n 5 "$log" >&2; refuse "mmdebstrap failed; see $log"; }
    for platform in manylinux2014 manylinux_2_27 manylinux_2_28; do
        platforms+=(--platform "${platform}_aarch64")
    done
    "$PYTHON" -m pip install --quiet --target "$partial/site" "${platforms[@]}" --only-binary=:all: \
        --python-version "$PYTHON_VERSION" --implementation cp "${PACKAGES[@]}" >> "$log" 2>&1 \
        || { tail -n 5 "$log" >&2; refuse "pip failed; see $log"; }
    echo "$WANTED" > "$partial/made-of"
    mv "$partial" "$ROOT"
}

on_aarch64() {
    local core=$1
    shift
    env -i PYTHONPATH="$ROOT/site" PYTHONDONTWRITEBYTECODE=1 \
        qemu-aarch64-static -cpu "$core" -L "$ROOT" "$ROOT/usr/bin/python$PYTHON_VERSION" -S "$@"
}

# classify FOLDER FILE IMAGES: the answers of this machine and of each core, as FOLDER/<core>.json.
classify() {
    local folder=$1 core
    shift
    mkdir "$folder"
    env -u PYTHONPATH "$PYTHON" "$CLASSIFY" "$1" --evaluate "$2" --json > "$folder/here.json" || exit 2
    for core in "${CORES[@]}"; do
        on_aarch64 "$core" "$CLASSIFY" "$1" --evaluate "$2" --json > "$folder/$core.json" || exit 2
    done
}

main() {
    [[ ${1:-} == -h || ${1:-} == --help ]] && { usage; exit 0; }
    (( $# >= 2 )) || { usage >&2; exit 2; }
    local images=$1 answers file number=0
    shift
    [[ -d $images ]] || refuse "$images: expected a folder with one folder of images a class"
    for file in "$@"; do
        [[ -f $file ]] || refuse "$file: expected a .tflite file"
    done
    check_tools
    make_root
    answers=$(mktemp -d)
    # shellcheck disable=SC2064
    trap "rm -rf '$answers'" EXIT
    for file in "$@"; do
        number=$((number + 1))
        echo "classifying with $file" >&2
        classify "$answers/$number" "$file" "$images"
    done
    "$PYTHON" "$TOOLS/compare_answers.py" "$answers"
}

main "$@"
