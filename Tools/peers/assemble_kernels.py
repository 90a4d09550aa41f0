"""Assembles the kernels for NVIDIA GPUs, without a GPU: prints what a work-group of each build for tensor cores needs, and
what a work-item of every other kernel does, products at each of their tiles.

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
COMMON = ["common/lanes", "common/functions", "common/epilogue", "common/indexing"]
FILES = [*COMMON, "tensor/fragments", "tensor/convolution"]
# The other families and their files, as KernelFamily has them.
FAMILIES = {
    "convolution": ["common/tile", "conv/convolution", "conv/convolution_tiled"],
    "gemm": ["common/tile", "gemm/gemm", "gemm/gemm_tiled"],
    "gate": ["gate/gate"],
    "pool": ["pool/pool"],
    "normalize": ["normalize/normalize"],
    "softmax": ["softmax/reduce", "softmax/softmax"],
    "elementwise": ["elementwise/elementwise"],
    "movement": ["elementwise/movement"],
    "typed": ["common/types", "elementwise/typed", "softmax/typed_reduce", "gemm/integer_product"],
    "optimizer": ["optimizer/adam"],
    "solver": ["solver/hessian", "solver/factor", "solver/sweep", "solver/eliminate"],
    "solverDouble": ["solver/hessian", "solver/factor", "solver/sweep", "solver/eliminate"],
}
# MWG, NWG, KWG, MWI, NWI; the first is the default.
TILES = [(64, 64, 16, 8, 8), (128, 128, 8, 8, 8), (64, 64, 16, 4, 4), (32, 32, 16, 4, 4)]


def definitions() -> list[str]:
    """The codes of the host's tables, as KernelFunctions.definitions makes them."""
    text = (ROOT / "Sources/CatenaOpenCL/Kernels/KernelFunctions.swift").read_text()
    lines = [f"#define FUNCTION_{name.upper()} {value}"
             for name, value in re.findall(r"static let (reversed|gradient): Int32 = (\d+)", text)]
    prefixes = {name: prefix for prefix, name in re.findall(r'table\("(\w+)", (\w+)\.self\)', text)}
    for name, body in re.findall(r"enum (\w+): Int32, CaseIterable \{(.*?)\n  \}", text, re.S):
        cases = [case.strip() for line in re.findall(r"^    case (\w[\w, ]*)$", body, re.M) for case in line.split(",")]
        for code, case in enumerate(cases):
            snake = "".join("_" + letter if letter.isupper() else letter.upper() for letter in case)
            lines.append(f"#define {prefixes[name]}_{snake} {code}")
    return lines


def source(files: list[str]) -> str:
    texts = [(ROOT / "Kernels" / f"{name}.cl").read_text() for name in files]
    # Everything is inlined on a GPU.
    inline = "#define inline static inline __attribute__((always_inline))"
    return "\n".join([inline, *definitions(), *texts])


def assembled(text: pathlib.Path, ptx: pathlib.Path, defines: dict, options, arch: str) -> str:
    """What ptxas says of a program."""
    subprocess.run(
        [options.clang, "-target", "nvptx64--nvidiacl", "-x", "cl", "-cl-std=CL1.2", "-O3",
         *sum((["-Xclang", word] for word in [
             "-finclude-default-header", "-target-cpu", "sm_80", "-target-feature", "+ptx70", "-mlink-builtin-bitcode",
             options.libclc]), []),
         *(f"-D{key}={value}" for key, value in defines.items()), "-S", str(text), "-o", str(ptx)], check=True)
    return subprocess.run(
        [options.ptxas, "-v", f"-arch={arch}", str(ptx), "-o", str(ptx.with_suffix(".cubin"))], check=True,
        capture_output=True, text=True).stderr


def kernels(family: str, tile, options, folder: pathlib.Path, arch: str) -> dict[str, dict[str, int]]:
    """What each kernel of a family needs."""
    text, ptx = folder / f"{family}.cl", folder / f"{family}.ptx"
    text.write_text(source([*COMMON, *FAMILIES[family]]))
    defines = {"LANES": 4, "PIXELS": 4, "RUN": 1, "GROUP_SIZE": 64, "TENSOR_PTX": 0,
               **dict(zip(["MWG", "NWG", "KWG", "MWI", "NWI"], tile)),
               **({"REAL_IS_DOUBLE": 1} if family == "solverDouble" else {})}
    found = {}
    report = assembled(text, ptx, defines, options, arch)
    bodies = dict(part.split("(", 1) for part in ptx.read_text().split(".visible .entry ")[1:])
    for part in report.split("Compiling entry function '")[1:]:
        name = part[:part.index("'")]
        found[name] = {
            key: int(match.group(1)) if (match := re.search(pattern, part)) else 0
            for key, pattern in [("registers", r"Used (\d+) registers"), ("stack", r"(\d+) bytes stack frame"),
                                 ("spills", r"(\d+) bytes spill stores"), ("local", r"(\d+) bytes smem")]}
        # Between the first and the last barrier of a product lies its loop, where the stack has no business.
        loop = bodies[name].split("bar.sync")[1:-1]
        found[name]["stack in loop"] = name.endswith("_tiled") and any(".local." in piece for piece in loop)
    return found


def print_kernels(options, folder: pathlib.Path) -> bool:
    """A row for every kernel and, of products by tiles, for every tile; whether none spills."""
    is_good = True
    arch = options.arch[-1]
    print(f"\n| kernel ({arch}) | tile | registers | stack, spills (bytes) | local memory |")
    print("|---|---|---|---|---|")
    for family in FAMILIES:
        for tile in TILES if family in ("convolution", "gemm") else TILES[:1]:
            for kernel, needs in kernels(family, tile, options, folder, arch).items():
                is_tiled = kernel.endswith("_tiled")
                if tile != TILES[0] and not is_tiled:
                    continue
                is_good = is_good and needs["spills"] == 0 and not needs["stack in loop"]
                words = "{} x {} x {}, {} x {}".format(*tile) if is_tiled else ""
                name = f"{kernel} (f64)" if family == "solverDouble" else kernel
                print(f"| `{name}` | {words} | {needs['registers']} | {needs['stack']}, {needs['spills']} | "
                      f"{needs['local']} |", flush=True)
    return is_good


def assemble(build, options, folder: pathlib.Path, arch: str) -> dict[str, int]:
    name, bf16, rows, columns, row_warps, column_warps, stages = build
    text, ptx = folder / f"{name}.cl", folder / f"{name}.ptx"
    text.write_text(source(FILES))
    defines = {"PTX": "__asm__", "LANES": 4, "PIXELS": 4, "RUN": 1, "GROUP_SIZE": 64, "TENSOR_PTX": 1,
               "TENSOR_BF16": bf16, "TILE_M": rows, "TILE_N": columns, "WARPS_M": row_warps, "WARPS_N": column_warps,
               "STAGES": stages}
    report = assembled(text, ptx, defines, options, arch)
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
        bad = not print_kernels(options, pathlib.Path(folder)) or bad
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
