"""Assembles the kernels for tensor cores for NVIDIA GPUs, without a GPU, and prints what a work-group of each build needs.

    python Tools/peers/assemble_kernels.py [--clang clang-15] [--ptxas ptxas] [--libclc FILE.bc] [--arch sm_80 sm_90]

Needs a clang with the nvptx64 target, libclc's built-in functions for it, and ptxas (PyPI: nvidia-cuda-nvcc-cu12). What
NVIDIA's own OpenCL compiler makes of the same text may differ; spills, local memory and a loop that was not unrolled
show here all the same.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# Name, TENSOR_BF16, TILE_M, TILE_N, WARPS_M, WARPS_N, STAGES: as KernelFamily.tile has them.
BUILDS = [
    ("tensorTF32", 0, 128, 128, 2, 4, 3),
    ("tensorTF32Small", 0, 64, 64, 2, 2, 3),
    ("tensorBF16", 1, 128, 128, 2, 4, 2),
    ("tensorBF16Small", 1, 64, 64, 2, 2, 2),
]
FILES = ["common/lanes", "common/functions", "common/epilogue", "common/indexing", "tensor/fragments",
         "tensor/convolution"]


def definitions() -> list[str]:
    """The codes of the host's tables, as KernelFunctions.definitions makes them."""
    text = (ROOT / "Sources/CatenaOpenCL/KernelFunctions.swift").read_text()
    lines = [f"#define FUNCTION_{name.upper()} {value}"
             for name, value in re.findall(r"static let (reversed|gradient): Int32 = (\d+)", text)]
    for name, body in re.findall(r"enum (\w+): Int32, CaseIterable \{(.*?)\n  \}", text, re.S):
        cases = [case.strip() for line in re.findall(r"^    case (\w[\w, ]*)$", body, re.M) for case in line.split(",")]
        for code, case in enumerate(cases):
            snake = "".join("_" + letter if letter.isupper() else letter.upper() for letter in case)
            lines.append(f"#define {name.upper()}_{snake} {code}")
    return lines


def source() -> str:
    texts = [(ROOT / "Kernels" / f"{name}.cl").read_text() for name in FILES]
    # Everything is inlined on a GPU.
    inline = "#define inline static inline __attribute__((always_inline))"
    return "\n".join([inline, *definitions(), *texts])


def assemble(build, options, folder: pathlib.Path, arch: str) -> dict[str, int]:
    name, bf16, rows, columns, row_warps, column_warps, stages = build
    text, ptx = folder / f"{name}.cl", folder / f"{name}.ptx"
    text.write_text(source())
    defines = {"PTX": "__asm__", "LANES": 4, "PIXELS": 4, "RUN": 1, "GROUP_SIZE": 64, "TENSOR_PTX": 1,
               "TENSOR_BF16": bf16, "TILE_M": rows, "TILE_N": columns, "WARPS_M": row_warps, "WARPS_N": column_warps,
               "STAGES": stages}
    subprocess.run(
        [options.clang, "-target", "nvptx64--nvidiacl", "-x", "cl", "-cl-std=CL1.2", "-O3",
         *sum((["-Xclang", word] for word in [
             "-finclude-default-header", "-target-cpu", "sm_80", "-target-feature", "+ptx70", "-mlink-builtin-bitcode",
             options.libclc]), []),
         *(f"-D{key}={value}" for key, value in defines.items()), "-S", str(text), "-o", str(ptx)], check=True)
    report = subprocess.run(
        [options.ptxas, "-v", f"-arch={arch}", str(ptx), "-o", str(folder / "out.cubin")], check=True,
        capture_output=True, text=True).stderr
    numbers = {"mma": ptx.read_text().count("mma.sync"), "ldmatrix": ptx.read_text().count("ldmatrix.sync")}
    for key, pattern in [("registers", r"Used (\d+) registers"), ("stack", r"(\d+) bytes stack frame"),
                         ("spills", r"(\d+) bytes spill stores"), ("local", r"(\d+) bytes smem")]:
        numbers[key] = int(re.search(pattern, report).group(1))
    return numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clang", default="clang-15")
    parser.add_argument("--ptxas", default="ptxas")
    parser.add_argument("--libclc", default="/usr/lib/clc/nvptx64--nvidiacl.bc")
    parser.add_argument("--arch", nargs="+", default=["sm_80", "sm_90"])
    options = parser.parse_args()
    print("| build | GPU | work-items | registers each | stack, spills (bytes) | local memory | groups per unit |")
    print("|---|---|---|---|---|---|---|")
    bad = False
    with tempfile.TemporaryDirectory() as folder:
        for build in BUILDS:
            threads = 32 * build[4] * build[5]
            for arch in options.arch:
                found = assemble(build, options, pathlib.Path(folder), arch)
                # 65,536 registers a unit in steps of 8 a work-item; 164 KiB of local memory (sm_80; sm_90 has 228), 1 KiB
                # of each group's for the system.
                by_registers = 65536 // (threads * -(-found["registers"] // 8) * 8)
                by_memory = (228 if arch == "sm_90" else 164) * 1024 // (found["local"] + 1024)
                print(f"| {build[0]} | {arch} | {threads} | {found['registers']} | {found['stack']}, {found['spills']} | "
                      f"{found['local']} | {min(by_registers, by_memory, 2048 // threads)} |", flush=True)
                bad = bad or found["spills"] > 0 or found["mma"] == 0
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
