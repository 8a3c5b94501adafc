"""Functions and layers that run as one."""

import functools

import keras


def whole(run, layer=None, **options):
    """`run`, a layer, or a function of tensors that calls `layer` if any; `options` of the call.

    On JAX it is compiled as one: operations one by one are compiled each, for every shape anew, which takes longer.
    """
    if keras.backend.backend() != "jax":
        return functools.partial(run, **options)
    import jax

    # A model's metrics are not among its variables.
    variables = [x for kind in ("variables", "metrics_variables") for x in getattr(layer or run, kind, [])]

    @jax.jit
    def step(state, args):
        with keras.StatelessScope(list(zip(variables, state, strict=True))) as scope:
            outputs = run(*args, **options)
        return outputs, [scope.get_current_value(variable) for variable in variables]

    def call(*args):
        outputs, state = step([variable.value for variable in variables], args)
        for variable, value in zip(variables, state, strict=True):
            variable.assign(value)
        return outputs

    return call
