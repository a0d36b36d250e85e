"""The names that a config from the network may use: exact layers, losses, optimizers, schedulers, estimators.

Each was looked at: calling it with plain values makes an object and does nothing else. What takes a
function, a file, a folder or a serialized object is not here (`LambdaLR`, `keras.layers.Lambda`,
`TFSMLayer`, `StringLookup`, ...). A whole package is never here: `keras.utils.get_file` writes files.
"""

from __future__ import annotations

_TORCH_LAYERS = """
AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d
AlphaDropout AvgPool1d AvgPool2d AvgPool3d BatchNorm1d BatchNorm2d BatchNorm3d Bilinear CELU ChannelShuffle
CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d Conv1d Conv2d Conv3d
ConvTranspose1d ConvTranspose2d ConvTranspose3d CosineSimilarity Dropout Dropout1d Dropout2d Dropout3d ELU
Embedding EmbeddingBag FeatureAlphaDropout Flatten Fold FractionalMaxPool2d FractionalMaxPool3d GELU GLU GRU
GRUCell GroupNorm Hardshrink Hardsigmoid Hardswish Hardtanh Identity InstanceNorm1d InstanceNorm2d
InstanceNorm3d LPPool1d LPPool2d LPPool3d LSTM LSTMCell LayerNorm LazyBatchNorm1d LazyBatchNorm2d
LazyBatchNorm3d LazyConv1d LazyConv2d LazyConv3d LazyLinear LeakyReLU Linear LocalResponseNorm LogSigmoid
LogSoftmax MaxPool1d MaxPool2d MaxPool3d Mish MultiheadAttention PReLU PairwiseDistance PixelShuffle
PixelUnshuffle RMSNorm RNN RNNCell RReLU ReLU ReLU6 ReflectionPad1d ReflectionPad2d ReflectionPad3d
ReplicationPad1d ReplicationPad2d ReplicationPad3d SELU Sequential SiLU Sigmoid Softmax Softmax2d Softmin
Softplus Softshrink Softsign Tanh Tanhshrink Threshold Transformer TransformerDecoder TransformerDecoderLayer
TransformerEncoder TransformerEncoderLayer Unflatten Unfold Upsample ZeroPad1d ZeroPad2d ZeroPad3d
"""
_TORCH_LOSSES = """
BCELoss BCEWithLogitsLoss CTCLoss CosineEmbeddingLoss CrossEntropyLoss GaussianNLLLoss HingeEmbeddingLoss
HuberLoss KLDivLoss L1Loss MSELoss MarginRankingLoss MultiLabelMarginLoss MultiLabelSoftMarginLoss
MultiMarginLoss NLLLoss PoissonNLLLoss SmoothL1Loss SoftMarginLoss TripletMarginLoss
"""
_TORCH_FUNCTIONS = """
binary_cross_entropy binary_cross_entropy_with_logits cross_entropy elu gelu hinge_embedding_loss huber_loss
kl_div l1_loss leaky_relu log_softmax mse_loss nll_loss relu sigmoid silu smooth_l1_loss soft_margin_loss
softmax softplus tanh
"""
_TORCH_OPTIMIZERS = """
ASGD Adadelta Adafactor Adagrad Adam AdamW Adamax NAdam RAdam RMSprop Rprop SGD SparseAdam
"""
_TORCH_SCHEDULERS = """
ConstantLR CosineAnnealingLR CosineAnnealingWarmRestarts ExponentialLR LinearLR MultiStepLR
OneCycleLR PolynomialLR ReduceLROnPlateau StepLR
"""
_KERAS_LAYERS = """
Activation ActivityRegularization Add AdditiveAttention AlphaDropout Attention Average AveragePooling1D
AveragePooling2D AveragePooling3D BatchNormalization Bidirectional CenterCrop Concatenate Conv1D
Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Cropping1D
Cropping2D Cropping3D Dense DepthwiseConv1D DepthwiseConv2D Dot Dropout ELU EinsumDense Embedding Flatten
GRU GRUCell GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D
GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization Identity
InputLayer LSTM LSTMCell LayerNormalization LeakyReLU Masking MaxPooling1D MaxPooling2D MaxPooling3D Maximum
Minimum MultiHeadAttention Multiply PReLU Permute RNN RandomContrast RandomCrop RandomFlip RandomRotation
RandomTranslation RandomZoom ReLU RepeatVector Rescaling Reshape Resizing SeparableConv1D SeparableConv2D
SimpleRNN SimpleRNNCell Softmax SpatialDropout1D SpatialDropout2D SpatialDropout3D Subtract TimeDistributed
UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
"""
_KERAS_LOSSES = """
BinaryCrossentropy BinaryFocalCrossentropy CTC CategoricalCrossentropy CategoricalFocalCrossentropy
CategoricalHinge CosineSimilarity Dice Hinge Huber KLDivergence LogCosh MeanAbsoluteError
MeanAbsolutePercentageError MeanSquaredError MeanSquaredLogarithmicError Poisson
SparseCategoricalCrossentropy SquaredHinge Tversky
"""
_KERAS_OPTIMIZERS = "Adadelta Adafactor Adagrad Adam AdamW Adamax Ftrl Lamb Lion Nadam RMSprop SGD"
_KERAS_SCHEDULES = """
CosineDecay CosineDecayRestarts ExponentialDecay InverseTimeDecay PiecewiseConstantDecay PolynomialDecay
"""
_KERAS_INITIALIZERS = """
Constant GlorotNormal GlorotUniform HeNormal HeUniform LecunNormal LecunUniform Ones Orthogonal RandomNormal
RandomUniform TruncatedNormal VarianceScaling Zeros
"""
_SKLEARN_LINEAR = """
ElasticNet HuberRegressor Lasso LinearRegression LogisticRegression PassiveAggressiveClassifier
PassiveAggressiveRegressor Perceptron Ridge RidgeClassifier SGDClassifier SGDRegressor
"""
_LISTED = {
    "fedops.algorithms.partition": "partition",
    "keras": "Sequential",
    "keras.initializers": _KERAS_INITIALIZERS,
    "keras.layers": _KERAS_LAYERS,
    "keras.losses": _KERAS_LOSSES,
    "keras.optimizers": _KERAS_OPTIMIZERS,
    "keras.optimizers.schedules": _KERAS_SCHEDULES,
    "keras.regularizers": "L1 L1L2 L2",
    "sklearn.linear_model": _SKLEARN_LINEAR,
    "sklearn.naive_bayes": "BernoulliNB ComplementNB GaussianNB MultinomialNB",
    "sklearn.neural_network": "MLPClassifier MLPRegressor",
    "sklearn.preprocessing": "MaxAbsScaler MinMaxScaler PolynomialFeatures StandardScaler",
    "torch.nn": _TORCH_LAYERS + _TORCH_LOSSES,
    "torch.nn.functional": _TORCH_FUNCTIONS,
    "torch.optim": _TORCH_OPTIMIZERS,
    "torch.optim.lr_scheduler": _TORCH_SCHEDULERS,
}
#: All of them, with their packages.
NETWORK_NAMES = frozenset(
    f"{package}.{name}" for package, names in _LISTED.items() for name in names.split()
)
#: Where a config from the network may name a strategy: Flower's, of which the server makes only strategies.
STRATEGY_PACKAGES = ("flwr.serverapp.strategy", "flwr.server.strategy")
