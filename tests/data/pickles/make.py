"""Makes the pickles that tests/data/pickle_test.ts reads: python3 tests/data/pickles/make.py"""
import collections
import pathlib
import pickle

here = pathlib.Path(__file__).parent
shared = ["twice", 1.5]
value = {
    "none": None,
    "truth": [True, False],
    "numbers": [0, -1, 255, 65535, 2**31 - 1, -(2**31), 2**40, 2**80, -(2**80), 0.1, float("inf")],
    "text": "Sjögren 🩺",
    "bytes": b"\x00\xff",
    "tuples": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
    "shared": (shared, shared),
    7: {"nested": {"deeper": []}},
}
for protocol in range(6):
    own = {key: item for key, item in value.items() if protocol > 2 or key != "bytes"}  # before 3, bytes are calls
    (here / f"protocol_{protocol}.pkl").write_bytes(pickle.dumps(own, protocol))
(here / "sets.pkl").write_bytes(pickle.dumps({"set": {1, 2}, "frozen": frozenset([3]), "long": list(range(1500))}))
(here / "phenotype_index.pkl").write_bytes(pickle.dumps({i: 88494 if i in (4, 17) else 1000 + i for i in range(24)}))
descriptions = {0: {"input_ids": [101, 2828, 1016, 102, 0], "attention_mask": [1, 1, 1, 1, 0]},
                1: {"input_ids": [[101, 102]], "attention_mask": [[1, 1]]}}
(here / "med_code_descriptions.pkl").write_bytes(pickle.dumps(descriptions))
(here / "ordered.pkl").write_bytes(pickle.dumps(collections.OrderedDict(a=1)))
(here / "ordered_0.pkl").write_bytes(pickle.dumps(collections.OrderedDict(a=1), 0))
