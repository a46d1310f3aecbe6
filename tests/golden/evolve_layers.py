#!/usr/bin/env python3
"""A candidate of a mergekit-evolve configuration has the layers that mergekit-evolve gives the same genes.

Runs a few candidates of the configuration, writes the winner's genes as mergekit-evolve's own genotype, merges the mergekit
YAML that its ModelGenome makes of them (by `merganser merge`, in fp32 as the run did), and compares every tensor of a layer
bit by bit. For configurations with layer_granularity and without random masks. Embedding, norm and head are not compared: they
have genes of their own here.

Needs mergekit 0.1 and safetensors: PYTHON tests/golden/evolve_layers.py build/bin/merganser examples/ja-math/evolve.yml
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
import yaml
from mergekit.evo.genome import METHOD_PARAM_MAPS, ModelGenome, ModelGenomeDefinition
from safetensors import safe_open


def main():
    merganser, path = sys.argv[1], pathlib.Path(sys.argv[2])
    definition = yaml.safe_load(path.read_text())["genome"]
    for key in ("models", "base_model"):  # relative to the file
        value = definition.get(key)
        if isinstance(value, list):
            definition[key] = [str((path.parent / name).resolve()) for name in value]
        elif value:
            definition[key] = str((path.parent / value).resolve())
    genome = ModelGenome(ModelGenomeDefinition.model_validate(definition))
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([merganser, "run", str(path), "--max-fevals", "6", "--out", f"{folder}/run"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack = json.loads(pathlib.Path(folder, "run/summary.json").read_text())["best"]["recipe"]["stacks"][0]
        layers = [group for group in stack["settings"] if group["group"].get("parts") == ["layers"]]
        names = [pathlib.Path(name).name for name in definition["models"]]
        parameters = METHOD_PARAM_MAPS[definition["merge_method"]]
        sets = len(definition.get("filters") or []) + 1
        genes = numpy.array([group["sources"][stack["sources"].index(name)]["values"][parameter]
                             for group in layers for name in names for parameter in parameters])
        # Ours: block, set, model, parameter; mergekit-evolve's: block, model, set, parameter.
        genes = genes.reshape(len(layers) // sets, sets, len(names), len(parameters)).transpose(0, 2, 1, 3)
        pathlib.Path(folder, "theirs.yml").write_text(genome.genotype_merge_config(genes.copy()).to_yaml())
        subprocess.run([merganser, "merge", f"{folder}/theirs.yml", f"{folder}/theirs"], check=True, stdout=subprocess.DEVNULL)
        ours = safe_open(f"{folder}/run/best/model.safetensors", "pt")
        theirs = safe_open(f"{folder}/theirs/model.safetensors", "pt")
        tensors = [name for name in ours.keys() if ".layers." in name]
        different = [name for name in tensors if not (ours.get_tensor(name) == theirs.get_tensor(name)).all()]
    print(f"{len(tensors)} tensors of layers, {len(different)} different", *different[:5])
    return 1 if different or not tensors else 0


if __name__ == "__main__":
    sys.exit(main())
