"""Every published or reference number of the project, as data, in this one place.

Where a number comes from is said above it. "Reference" numbers were produced by running the
original program or listing; "published" ones are printed in the document itself.
"""

from typing import NamedTuple


class Printed(NamedTuple):
    """One printed report of a training run; the iteration is its index times 1000."""

    loss: float
    a: int
    b: int
    guess: int


# --- binary addition ------------------------------------------------------------------------------

# The 2015 listing ("Anyone Can Learn To Code an LSTM-RNN in Python", part 1), NumPy seed 0; the
# errors as printed, to eight decimals. The last wrong training sample is number 6966.
PUBLISHED_RUN = (
    Printed(3.45638663, 9, 60, 1),
    Printed(3.63389116, 28, 35, 255),
    Printed(3.91366595, 116, 44, 72),
    Printed(3.72191702, 4, 73, 223),
    Printed(3.5852713, 71, 11, 8),
    Printed(2.53352328, 81, 113, 162),
    Printed(0.57691441, 81, 0, 81),
    Printed(1.42589952, 4, 125, 129),
    Printed(0.47477457, 39, 17, 56),
    Printed(0.21595037, 11, 3, 14),
)
PUBLISHED_LAST_WRONG_SAMPLE = 6966

# Reference: the listing of "RNN代码实现" with np.random.seed(0); first and last of 20 reports.
# All 17 digits hold with OpenBLAS's Haswell kernels (OPENBLAS_CORETYPE=Haswell); with others the
# last one or two differ, in the original listing just the same.
NUMPY_RUN_FIRST = Printed(4.467009959054425, 114, 33, 255)
NUMPY_RUN_LAST = Printed(0.17285294834823853, 7, 120, 127)

# Published: the twenty reports of that document, from an unseeded run (the shape of the curve can
# be held against them, the numbers cannot). Wrong bits per report: 5, 5, 3, 3, 1, then none.
NUMPY_DOCUMENT_RUN = (
    Printed(5.00127631787096, 25, 24, 255),
    Printed(4.078095061903546, 1, 104, 2),
    Printed(3.9446123086840794, 117, 34, 71),
    Printed(3.3648771518000866, 74, 40, 2),
    Printed(2.8204597278431844, 100, 47, 155),
    Printed(1.121107524667487, 17, 8, 25),
    Printed(0.9348100261952509, 28, 94, 122),
    Printed(0.5565792149240794, 81, 21, 102),
    Printed(0.42942078786941507, 30, 6, 36),
    Printed(0.4385399024946841, 74, 125, 199),
    Printed(0.28472002755796516, 106, 69, 175),
    Printed(0.3385665267460839, 83, 70, 153),
    Printed(0.289729466127258, 74, 23, 97),
    Printed(0.3140939999708829, 57, 55, 112),
    Printed(0.24482058057440437, 69, 11, 80),
    Printed(0.2918368794687556, 110, 36, 146),
    Printed(0.26259882762101444, 96, 106, 202),
    Printed(0.24672624391748108, 115, 22, 137),
    Printed(0.18003675348822368, 115, 83, 198),
    Printed(0.22102609505269238, 82, 92, 174),
)
NUMPY_DOCUMENT_WRONG_BITS = (5, 5, 3, 3, 1) + (0,) * 15
NUMPY_DOCUMENT_FIRST_BLOCK = """\
loss:5.00127631787096
Pred:[1 1 1 1 1 1 1 1]
True:[0 0 1 1 0 0 0 1]
25 + 24 = 255
------------
"""

# Reference: the C++ article's program at its default seed, `a+b guess = :n` every 1000 iterations.
# Wrong at 0, 1000 and 2000, right from 3000 on, as the article says; last wrong sample 2419.
ARTICLE_RUN = (
    (105, 115, 0),
    (74, 103, 0),
    (22, 45, 126),
    (43, 12, 55),
    (105, 104, 209),
    (60, 35, 95),
    (67, 96, 163),
    (96, 10, 106),
    (64, 47, 111),
    (110, 117, 227),
    (105, 115, 220),
    (74, 103, 177),
    (22, 45, 67),
    (43, 12, 55),
    (105, 104, 209),
    (60, 35, 95),
    (67, 96, 163),
    (96, 10, 106),
    (64, 47, 111),
    (110, 117, 227),
)
ARTICLE_LAST_WRONG_SAMPLE = 2419
ARTICLE_FIRST_LINE = "105+115 guess = :0"

# Reference: sizes of the article's graphs at 8 steps.
ARTICLE_VIRTUAL_NODES = 17
ARTICLE_BRANCHES = 1
ARTICLE_VIRTUAL_EDGES = 17
ARTICLE_UNROLLED_NODES = 137
ARTICLE_UNROLLED_EDGES = 136
ARTICLE_UNROLLED_SINKS = 9
ARTICLE_PRUNED_NODES = 135
ARTICLE_PRUNED_AWAY = {"Mult:h:7:", "Parameter:wh:7:"}

# glibc's rand(), from a C program.
GLIBC_SEED_1 = (
    1804289383,
    846930886,
    1681692777,
    1714636915,
    1957747793,
    424238335,
    719885386,
    1649760492,
    596516649,
    1189641421,
)
GLIBC_SEED_42 = (71876166, 708592740, 1483128881, 907283241, 442951012)
GLIBC_SEED_1_NUMBER_20088 = 1297879577

# --- the article's loop of squares ----------------------------------------------------------------

# Reference: p = ones (2, 2); s_0 = sum(p^2), s_k = s_{k-1}^2. ds_3/ds_2, /ds_1, /ds_0, /dp; one SGD
# step on p at rate 0.01.
SQUARES = (4.0, 16.0, 256.0, 65536.0)
SQUARES_GRADIENTS = (512.0, 16384.0, 131072.0)
SQUARES_GRADIENT_P = 262144.0
SQUARES_P_AFTER_STEP = -2620.44

# Nested loops, outer 2 x inner 3 of "times 2" on 1 (the original gave 3 nodes and 8).
NESTED_LOOP_NODES = 6
NESTED_LOOP_VALUE = 64.0

# --- the article's table of ops -------------------------------------------------------------------

# Reference: values and the gradients of their sum, to the printed six decimals.
OP_P1 = ((-0.117, 0.386), (0.277, 0.415))
OP_P2 = ((0.293, -0.165), (-0.114, -0.008))
OP_TABLE = {
    "Add": (((0.176, 0.221), (0.163, 0.407)), (((1, 1), (1, 1)), ((1, 1), (1, 1)))),
    "Minus": (((-0.41, 0.551), (0.391, 0.423)), (((1, 1), (1, 1)), ((-1, -1), (-1, -1)))),
    "Mult": (
        ((-0.078285, 0.016217), (0.033851, -0.049025)),
        (((0.128, -0.122), (0.128, -0.122)), ((0.16, 0.16), (0.801, 0.801))),
    ),
    # base 2.718, derivative s (1 - s)
    "Sigmoid": (
        ((0.470786, 0.59531), (0.568804, 0.602276)),
        (((0.249147, 0.240916), (0.245266, 0.23954)),),
    ),
    "SquareSum": (0.411639, (((-0.234, 0.772), (0.554, 0.83)),)),
    "AbsSum": (1.195, (((-1, 1), (1, 1)),)),
    "Dropout": (((-0.234, 0), (0, 0.83)), (((2, 0), (0, 2)),)),
}
OP_DROPOUT_MASK = ((2, 0), (0, 2))
OP_SGD_RATE = 0.1

# --- the Go listing's fixed example ---------------------------------------------------------------

# Reference, from a zero state: x, target and weights as in the listing.
FIRST_IW = ((0.5, 0.2), (0.1, 0.3))
FIRST_HW = ((0.4, 0.4), (0.5, 0.5))
FIRST_OW = ((0.6,), (0.7,))
FIRST_X = (0.2, 0.4)
FIRST_TARGET = (0.9,)
FIRST_HIDDEN = (0.5349429451582145, 0.5399148845555657)
FIRST_OUTPUT = 0.6989061862838246
FIRST_LOSS = 0.040438721914915855
FIRST_HALF_LOSS = 0.020219360957457928
FIRST_DELTA = -0.2010938137161754
# of the half squared error
FIRST_D_OW = (-0.10757371696242822, -0.10857354321740728)
FIRST_D_IW = (
    (-0.006003349918671684, -0.006993429963154895),
    (-0.012006699837343367, -0.01398685992630979),
)
FIRST_D_HW = ((0.0, 0.0), (0.0, 0.0))
FIRST_DX = (-0.022001804759834105, -0.013491819904068184)
# the same x again with the state kept, twice
FIRST_KEPT_HIDDEN = (
    FIRST_HIDDEN,
    (0.6511128867867565, 0.6556423445260864),
    (0.6744247147362997, 0.6788008232153107),
)
FIRST_KEPT_OUTPUTS = (FIRST_OUTPUT, 0.8496173732403143, 0.8798154050924973)

# --- torch's nn.RNN and nn.RNNCell: names, shapes, counts -----------------------------------------

RNN_NAMES = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
RNN_CELL_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
RNN_100_20_SHAPES = ((20, 100), (20, 20), (20,), (20,))
RNN_100_20_PARAMETERS = 2440
RNN_100_20_FOUR_LAYERS_PARAMETERS = 4960
RNN_CELL_20_15_PARAMETERS = 555

# --- one stateful block of the chapter 5.3 RNN ----------------------------------------------------

# Reference, float64; the arrays are `time_rnn.reference_block()`, dhs = ones, ten decimals.
BLOCK_HS = (
    (
        (-0.0996679946, -0.1780808681, -0.1780808681),
        (0.0199309592, -0.0655552237, 0.0178062046),
        (0.0874536837, 0.0846924888, 0.1924610788),
    ),
    (
        (-0.0798297691, -0.1095584702, -0.0599281035),
        (-0.0389773263, -0.1232981447, -0.0739458938),
        (0.0528110610, 0.0092378409, 0.1068555345),
    ),
)
BLOCK_DXS = (
    ((0.5845290678, 1.423115348), (0.5893120133, 1.4290635418), (0.5866882417, 1.4711295723)),
    ((0.5974346773, 1.4517466426), (0.5850992973, 1.418622473), (0.5962786001, 1.4919908647)),
)
BLOCK_D_WX = (
    (-0.1094604378, -0.2221530806, -0.1934463129),
    (-0.1442175902, -0.3437951443, -0.3149995008),
)
BLOCK_D_WH = (
    (-0.1448949158, -0.2155006094, -0.1980078704),
    (-0.389651545, -0.5032400302, -0.471383808),
    (-0.2229965287, -0.3172678998, -0.2930050551),
)
BLOCK_D_B = (4.8799338583, 6.309978757, 5.9645092011)
BLOCK_DH = (
    (-0.2540572123, 0.0861140446, 0.0254715477),
    (-0.256877288, 0.0845746002, 0.0278933671),
)
BLOCK_SECOND_CALL_LAST_H = (
    (0.0868017511, 0.0849481397, 0.1914894715),
    (0.0522278081, 0.0092205913, 0.1067483497),
)
BLOCK_FIRST_H_FROM_HALF = (
    (-0.1973753202, -0.1292725836, -0.2260283523),
    (-0.1780808681, -0.0599281035, -0.1095584702),
)
# max |truncated - full| gradient of a six-step sequence (xs, then xs with its batch
# rows swapped) run as two blocks
BLOCK_TRUNCATION_GAPS = {"wx": 0.0768, "wh": 0.0357, "b": 0.4365}
