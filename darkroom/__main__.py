"""`python -m darkroom`: the same as the command `darkroom`."""

from darkroom.cli import main

if __name__ == "__main__":
    main(prog_name="darkroom")
