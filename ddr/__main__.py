"""`python -m ddr`: the same as the `ddr` command."""

from ddr.cli.main import main

if __name__ == "__main__":
    main()
