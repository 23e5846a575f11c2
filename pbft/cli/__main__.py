"""`python -m pbft.cli`: the same program as `gridquorum`, for an interpreter that is named rather than found."""

from pbft.cli import main

if __name__ == "__main__":
    main()
