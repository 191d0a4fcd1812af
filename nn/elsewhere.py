"""What PyTorch and Keras call what is here: for the errors that meet habits from there."""

from __future__ import annotations

from types import MappingProxyType

_LIST = "a list or dict of modules, which a module finds by itself"
_STOPPING = "nn.fit(..., patience=3)"
_FUNCTION = "the function autograd.{}, which is a layer of nn.Sequential too"

NAMES = MappingProxyType(
    {
        "AveragedModel": "nn.Average",
        "BCELoss": "nn.binary_cross_entropy",
        "BCEWithLogitsLoss": "nn.binary_cross_entropy_with_logits",
        "BinaryCrossentropy": "nn.binary_cross_entropy_with_logits",
        "Bidirectional": "bidirectional=True of nn.LSTM and the others",
        "CTCLoss": "nn.ctc",
        "CategoricalCrossentropy": "nn.cross_entropy",
        "CrossEntropyLoss": "nn.cross_entropy",
        "DataLoader": "nn.Batches, or nn.RaggedBatches for sequences of different lengths",
        "Dense": "nn.Linear",
        "EarlyStopping": _STOPPING,
        "ELU": _FUNCTION.format("elu"),
        "Embeddings": "nn.Embedding",
        "GELU": _FUNCTION.format("gelu"),
        "Huber": "nn.huber",
        "HuberLoss": "nn.huber",
        "KLDivLoss": "nn.kl_divergence",
        "L1Loss": "nn.absolute_error",
        "Layer": "nn.Module",
        "LayerNormalization": "nn.LayerNorm",
        "LeakyReLU": _FUNCTION.format("leaky_relu"),
        "LogSoftmax": _FUNCTION.format("log_softmax"),
        "MSELoss": "nn.squared_error",
        "Model": "nn.Module",
        "ModelCheckpoint": "nn.fit(..., checkpoints='runs/x'), or nn.Checkpoints",
        "ModuleDict": _LIST,
        "ModuleList": _LIST,
        "MultiheadAttention": "nn.MultiHeadAttention",
        "NLLLoss": "nn.nll",
        "Parameter": "autograd.parameter(name, value)",
        "ParameterList": "a list of parameters, which a module finds by itself",
        "ReduceLROnPlateau": "nn.schedules.Plateau",
        "ReLU": _FUNCTION.format("relu"),
        "SiLU": _FUNCTION.format("silu"),
        "Sigmoid": _FUNCTION.format("sigmoid"),
        "SimpleRNN": "nn.RNN",
        "SmoothL1Loss": "nn.huber",
        "Softmax": _FUNCTION.format("softmax"),
        "Softplus": _FUNCTION.format("softplus"),
        "SparseCategoricalCrossentropy": "nn.cross_entropy",
        "Tanh": _FUNCTION.format("tanh"),
        "TimeDistributed": "the layer itself: nn.Linear and others take (steps, batch, features)",
        "TimeRNN": "nn.RNN(..., batch_first=True, stateful=True)",
        "binary_crossentropy": "nn.binary_cross_entropy",
        "bce_loss": "nn.binary_cross_entropy",
        "clip_grad_norm_": "clip_norm= of the optimizer, or nn.clip_by_norm",
        "clip_grad_value_": "clip_value= of the optimizer, or nn.clip_by_value",
        "ctc_loss": "nn.ctc",
        "functional": "the functions of nn (losses, attention) and autograd (relu, softmax, ...)",
        "huber_loss": "nn.huber",
        "kl_div": "nn.kl_divergence",
        "l1_loss": "nn.absolute_error",
        "lr_scheduler": "nn.schedules",
        "mse_loss": "nn.squared_error",
        "nll_loss": "nn.nll",
        "no_grad": "autograd.no_grad",
        "one_hot": "autograd.one_hot",
        "pack_padded_sequence": "lengths= in the call of a recurrent layer",
        "pad_packed_sequence": "lengths= in the call of a recurrent layer",
        "pad_sequence": "nn.RaggedBatches",
        "parameter": "autograd.parameter(name, value)",
        "relu": "autograd.relu",
        "scaled_dot_product_attention": "nn.attention",
        "sigmoid": "autograd.sigmoid",
        "softmax": "autograd.softmax",
        "tanh": "autograd.tanh",
        "timeseries_dataset_from_array": "nn.windows",
        "utils": "clip_norm= of the optimizer to clip, lengths= of layers for ragged sequences",
    }
)
"""Classes and functions that have another name here."""

_DTYPE = "dtype= where layers are made; there are no devices"
_FROZEN = "an optimizer trains the parameters it is given: leave out those that are to stay"

METHODS = MappingProxyType(
    {
        "compile": "nn.TrainingStep(loss, optimizer), or autograd.compile(model)",
        "cpu": _DTYPE,
        "cuda": _DTYPE,
        "double": _DTYPE,
        "evaluate": "nn.evaluate(loss, batches, model)",
        "fit": "nn.fit(nn.TrainingStep(loss, optimizer), batches, epochs=10, model=model)",
        "float": _DTYPE,
        "get_weights": "model.state_dict()",
        "load_weights": "model.load_state_dict(nn.load(path))",
        "predict": "model.eval() and then model(xs)",
        "register_buffer": "an array as an attribute, which is no parameter",
        "register_parameter": "an attribute: self.w = autograd.parameter('w', value)",
        "requires_grad_": _FROZEN,
        "save": "nn.save(path, model)",
        "save_weights": "nn.save(path, model)",
        "set_weights": "model.load_state_dict(state)",
        "summary": "print(model)",
        "to": _DTYPE,
        "trainable": _FROZEN,
        "weights": "model.parameters()",
    }
)
"""Methods of PyTorch's modules and Keras' models, and what to write instead."""
