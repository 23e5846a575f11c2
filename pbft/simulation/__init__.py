"""The deterministic simulator: whole production nodes on virtual time, network and disks, searched by seeds."""
