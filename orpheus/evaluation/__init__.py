"""How good speech is: judged by recognisers and detectors, counted, and compared with intervals."""
