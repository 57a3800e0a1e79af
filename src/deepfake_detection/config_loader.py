"""The project's configuration: Kedro's, checked, with the rows of studies made whole."""

from collections.abc import Mapping
from typing import Any

from kedro.config import OmegaConfigLoader
from pydantic import ValidationError
from yaml import YAMLError

from deepfake_detection.checks import GIVEN_PATHS
from deepfake_detection.errors import UserError
from deepfake_detection.parameters import ProjectParameters, StudyParameters, describe_problems


class StudyConfigLoader(OmegaConfigLoader):
    """Reads configuration as Kedro's loader does, checks it, and completes each study's block.

    In a hook it would be late: Kedro-Viz calls no hooks of the project, and validates parameters.
    The pipelines of the studies are registered along with it.

    Attributes:
        own: The project's own parameters, once they were read.
        studies: The studies that they name.
    """

    own: ProjectParameters
    studies: list[StudyParameters]

    def __getitem__(self, key: str) -> Any:
        """Configuration of one kind, such as `parameters` or `catalog`.

        Raises:
            UserError: If parameter files cannot be read, or what they hold does not fit.
        """
        if key != "parameters" or key in self:
            return super().__getitem__(key)
        parameters = self._read_parameters()
        self.own = check_own(parameters)
        # torch takes seconds to import, and a mistyped parameter need not wait for it
        from deepfake_detection.pipeline_registry import use_studies
        from deepfake_detection.pipelines.studies.plan import plan_studies

        self["parameters"], self.studies = plan_studies(self._keep_order_of_rows(parameters))
        use_studies(self.studies)
        return self["parameters"]

    def _read_parameters(self) -> dict[str, Any]:
        try:
            return dict(super().__getitem__("parameters"))
        # a key that stands twice, in one file or in two of the same folder
        except (YAMLError, ValueError) as error:
            raise UserError(f"the parameter files: {' '.join(str(error).split())}") from None

    def _keep_order_of_rows(self, parameters: dict[str, Any]) -> dict[str, Any]:
        from deepfake_detection.pipelines.studies.plan import check_given_rows, keep_order_of_rows

        given = self.runtime_params or {}
        if not given.keys() & parameters["studies"].keys():
            return parameters
        in_files = OmegaConfigLoader(
            conf_source=self.conf_source,
            env=self.env,
            base_env=self.base_env,
            default_run_env=self.default_run_env,
            merge_strategy=self.merge_strategy,
        )["parameters"]
        check_given_rows(given, in_files)
        return keep_order_of_rows(parameters, in_files)


def check_own(parameters: Mapping[str, Any]) -> ProjectParameters:
    """The project's own parameters, beside those of studies and paths of the command line.

    Raises:
        UserError: Naming all that do not fit.
    """
    named = parameters.get("studies")
    apart = {*GIVEN_PATHS, *(named if isinstance(named, Mapping) else ())}
    own = {name: value for name, value in parameters.items() if name not in apart}
    try:
        return ProjectParameters.model_validate(own)
    except ValidationError as error:
        raise UserError(describe_problems(error, ProjectParameters)) from None
