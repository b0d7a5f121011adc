"""How the threads of numerical libraries wait for each other; importing it decides that for what loads afterwards."""

import os

POLICY = "OMP_WAIT_POLICY"
IS_OURS = POLICY not in os.environ  # whether the user left it to us

# By default OpenMP's threads spin while they wait for each other. With another busy process on the machine, that made
# small layers 13 times slower (2 cores, demo voice); sleeping has no measurable cost. PyTorch reads this when it loads.
os.environ.setdefault(POLICY, "passive")

# numpy's products here are small, and OpenBLAS' threads spin while they wait: beside other programs on 2 cores they made a
# step of the demo voice several times slower, alone hardly faster.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
