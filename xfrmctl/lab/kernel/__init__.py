"""The kernel under the lab: the running one where it can do ESP, else one that is built here and cached.

``native`` asks the running kernel, ``source`` finds the distribution's kernel source, ``fragment`` is the
configuration on top of the default, ``cache`` says where a built kernel lives, ``build`` makes it.
"""
