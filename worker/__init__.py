"""What computes: sources, selection, the families of models, and the stages that use them."""

import os
import platform

if platform.machine() == "x86_64":
    # TensorFlow leaves oneDNN off on processors without AVX-512, where a step then takes more than twice as long.
    # It reads this when it is imported, which must not have happened yet.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
