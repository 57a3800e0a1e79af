"""`python -m deepfake_detection.page` is the command `deepfake-page`."""

from deepfake_detection.page.command import main

if __name__ == "__main__":
    main(prog_name="deepfake-page")
