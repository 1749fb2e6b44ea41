"""Pulls an image into the current folder, or pushes reboot.wasm: oras_client.py pull|push REF"""

import sys

import oras.client

verb, image = sys.argv[1:]
client = oras.client.OrasClient(insecure=True)
if verb == "pull":
    client.pull(target=image, outdir=".", overwrite=True)
else:
    client.push(target=image, files=["reboot.wasm:application/wasm"], disable_path_validation=True)
