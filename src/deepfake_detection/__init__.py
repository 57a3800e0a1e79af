"""Train, compare, explain and use detectors of fake face photographs.

A detector file scores a picture in three lines:

```python
from deepfake_detection import Detector

detector = Detector.load("detector.safetensors")
print(detector.score("picture.jpg"))  # Score(path='picture.jpg', fake_probability=0.93, …)
```
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepfake_detection.models.detector import Detector as Detector

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # PyTorch takes seconds to import, and processes that only decode pictures do without
    if name == "Detector":
        from deepfake_detection.models.detector import Detector

        return Detector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
