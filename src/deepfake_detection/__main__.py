"""The project's command line: `python -m deepfake_detection` is `kedro run` of the package."""

import sys

from kedro.framework.project import configure_project


def main() -> None:
    """Run pipelines with the options of `kedro run`."""
    configure_project(__package__)
    from deepfake_detection.cli import run

    arguments = sys.argv[1:]
    run(arguments[1:] if arguments[:1] == ["run"] else arguments)


if __name__ == "__main__":
    main()
