"""A further machine takes part in a training: `python -m deepfake_detection.join_training`."""

import logging
import os
from pathlib import Path

import click

from deepfake_detection.command_options import as_parameter
from deepfake_detection.parameters import Device, Devices, Rendezvous


@click.command()
@click.argument("rendezvous", metavar="HOST:PORT", callback=as_parameter(Rendezvous))
@click.option(
    "--machines",
    type=click.IntRange(min=2),
    default=2,
    show_default=True,
    help="How many take part in all.",
)
@click.option(
    "--device",
    callback=as_parameter(Device),
    default="auto",
    show_default=True,
    help="auto, cpu, cuda or cuda:N.",
)
@click.option(
    "--devices",
    callback=as_parameter(Devices),
    default="auto",
    show_default=True,
    help="Processes on this machine, one for each device.",
)
@click.option(
    "--pixel-stores",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default="data/05_model_input/pixel_cache",
    show_default=True,
    help="The folder of pixel caches, shared or built here from the same images.",
)
def main(
    rendezvous: str, machines: int, device: str, devices: str | int, pixel_cache: Path
) -> None:
    """Take part in the training that waits at HOST:PORT.

    The settings come from there. Give --machines as training.machines is given there.
    """
    # what it says of a machine that is gone, or done first, is said here in one line
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    # torch takes seconds to import, and --help need not wait for it
    from deepfake_detection.models.devices import choose_device
    from deepfake_detection.training.hardware import Hardware, check_hardware, count_processes
    from deepfake_detection.training.launch import Machine, join_training

    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    log = logging.getLogger("deepfake_detection")
    log.setLevel(logging.INFO)
    chosen = choose_device(device)
    processes = count_processes(devices, chosen)
    check_hardware(Hardware(str(chosen), processes, machines, "fp32", 1))
    log.info("Joining the training at %s with %d process(es) on %s", rendezvous, processes, chosen)
    join_training(Machine(str(chosen), processes, pixel_cache), machines, rendezvous)
    log.info("The training has ended")


if __name__ == "__main__":
    main()
