"""Settings of all properties: no example has a deadline, because the machine's neighbours would decide the verdict."""

from hypothesis import settings

settings.register_profile("gridquorum", deadline=None)
settings.load_profile("gridquorum")
