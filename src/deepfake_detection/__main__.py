"""The project's command line: `python -m deepfake_detection` is `kedro run` of the package."""

from pathlib import Path

from kedro.framework.cli.utils import find_run_command
from kedro.framework.project import configure_project


def main() -> None:
    """Run the pipelines of this package with Kedro's own command line."""
    package_name = Path(__file__).parent.name
    configure_project(package_name)
    run = find_run_command(package_name)
    run()


if __name__ == "__main__":
    main()
