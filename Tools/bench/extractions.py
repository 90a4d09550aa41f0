"""Whole extractions beside PyTorch: the jobs of Tools/bench/compare that take minutes, not milliseconds.

Ours is the whole process, network read and results written, with the curve of the request. PyTorch only makes steps, of
the same network, batch and gates and one region at a time, as our default search begins them (dense); its time is that of a
few measured steps times the steps of our search.
"""

import json
import os
import statistics
import subprocess
import time
import typing

PEER_STEPS = 5


class Extraction(typing.NamedTuple):
    """What is extracted; peers compute in f32."""
    network: str
    keep: str
    preprocessing: str
    # How many regions in one run, from which place of the list for choosing on.
    regions: int = 1
    first: int = 0
    precision: str = "f32"

    @property
    def job(self):
        name = f"extraction {self.network} to {self.keep}, {self.regions} region{'s' * (self.regions > 1)}"
        return name + (f" {self.precision}" if self.precision != "f32" else "")


EXTRACTIONS = [
    Extraction("cifar10_resnet56", "10%", "cifar10"),
    Extraction("cifar10_resnet56", "10%", "cifar10", precision="bf16"),
    Extraction("cifar10_resnet56", "10%", "cifar10", regions=10),
    Extraction("cifar10_resnet56", "10%", "cifar10", regions=10, precision="bf16"),
    Extraction("resnet18_ktb", "10%", "imagenet"),
    # A region whose first end gives the network's class for every sample, as most do. A search that begins again makes many
    # more of the last, cheapest steps, and its ratio is higher.
    Extraction("resnet50_pqf_large", "5%", "imagenet", first=1),
    Extraction("resnet50_pqf_large", "5%", "imagenet", first=1, precision="bf16"),
]


def samples(assets, extraction):
    """The images of an extraction's regions, as arguments of catena."""
    name, images = {
        "cifar10": ("cifar10_2x10", "cifar10_test_first1000.bin"), "imagenet": ("imagenet_4x5", "imagenet_40x5"),
    }[extraction.preprocessing]
    lists = json.loads((assets / "regions" / f"{name}.json").read_text())
    end = extraction.first + extraction.regions
    regions = (lists["choose"] + lists["report"])[extraction.first:end]
    folder = assets / "images"
    return [
        f"{folder / images}#{sample}" if isinstance(sample, int) else str(folder / images / sample)
        for region in regions for sample in region.get("indices") or region["files"]]


def command(catena, model, extraction, images, threads, scratch):
    """What extracts the chains and prints JSON."""
    common = [
        "--keep", extraction.keep, "--preprocess", extraction.preprocessing, "--precision", extraction.precision,
        "--threads", threads, "--device", "cpu"]
    if extraction.regions == 1:
        return [catena, "chain", model, *images, *common, "--out", scratch / "chain", "--overwrite", "--json"]
    return [catena, "bench", "chains", model, *images, *common, "--regions", extraction.regions]


def timed(words):
    """A process's seconds, processor seconds, peak resident set and output."""
    start = time.perf_counter()
    process = subprocess.Popen([str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    # 2: the budget or the agreement was not met, and the best chain written.
    if process.returncode not in (0, 2):
        raise RuntimeError(f"catena ended with status {process.returncode}")
    seconds = time.perf_counter() - start
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, json.loads(output)


def processor_seconds(process):
    """What a running process has used so far."""
    with open(f"/proc/{process.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(words, regions, peer, rounds):
    """Ours and the peer's steps in turns. Returns the entry of the report."""
    ours, ours_processor, theirs, theirs_processor, peaks, found = [], [], [], [], [], []
    for _ in range(rounds):
        seconds, processor, peak, output = timed(words)
        # The passes for sensitivities take the peer as long as its steps.
        steps = output["work"]["steps"] + output["work"]["draws"] if regions == 1 else output["steps"]
        found = [output["fidelity"]["binary"]] if regions == 1 else output["regions"]
        ours.append(seconds / regions)
        ours_processor.append(processor / regions)
        peaks.append(peak)
        before = processor_seconds(peer.process)
        theirs.append(steps * statistics.median(peer.run() for _ in range(PEER_STEPS)))
        theirs_processor.append(steps * (processor_seconds(peer.process) - before) / PEER_STEPS)
    ratios = [b / a for a, b in zip(ours, theirs)]
    return {
        "rounds": rounds, "regions": regions, "peerSteps": PEER_STEPS, "stepsOfASearch": steps,
        "ratio": statistics.median(ratios), "ratioRange": [min(ratios), max(ratios)],
        "fastestRatio": min(theirs) / min(ours),
        "processorRatio": statistics.median(b / a for a, b in zip(ours_processor, theirs_processor)),
        "catenaSeconds": ours, "peerSeconds": theirs, "catenaProcessorSeconds": ours_processor,
        "peerProcessorSeconds": theirs_processor, "catenaPeakRSSBytes": max(peaks),
        "peerPeakRSSBytes": peer.finish(),
        "agreement": statistics.mean(f["agreement"] for f in found),
        "divergence": statistics.mean(f["divergence"] for f in found),
    }
