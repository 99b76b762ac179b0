"""What checks every annotation while tests run: beartype, with an int accepted where a float is asked."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
