demo test check docs:
	python3 dev.py $@
.PHONY: demo test check docs
