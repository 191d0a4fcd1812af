/* The training step of the binary-addition network, by hand in C: the limit of the adder's cases.

   h_t = sigmoid(x_t u + h_{t-1} w), y_t = sigmoid(h_t v), loss = sum (y_t - target)^2 / 2, one row,
   then u, w, v -= rate * gradient. Arrays are dense and row-major: x (N, T, D), target (N, T),
   u (D, H), w (H, H), v (H). Example k is number k modulo N. Returns the sum of the losses. */

#include <math.h>
#include <string.h>

#define H 16
#define D 2
#define LONGEST 64

static double sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }

double train(long first, long updates, long examples, long T, double rate, const double *inputs,
             const double *targets, double *restrict u, double *restrict w, double *restrict v)
{
    double hs[LONGEST + 1][H], out[LONGEST], du[D][H], dw[H][H], dv[H], total = 0.0;
    memset(hs[0], 0, sizeof hs[0]);
    for (long k = 0; k < updates; k++) {
        const double *xs = inputs + (first + k) % examples * T * D;
        const double *ys = targets + (first + k) % examples * T;
        for (long t = 0; t < T; t++) {
            double z[H], logit = 0.0;
            for (int j = 0; j < H; j++)
                z[j] = xs[t * D] * u[j] + xs[t * D + 1] * u[H + j];
            for (int i = 0; i < H; i++)
                for (int j = 0; j < H; j++)
                    z[j] += hs[t][i] * w[i * H + j];
            for (int j = 0; j < H; j++)
                hs[t + 1][j] = sigmoid(z[j]);
            for (int j = 0; j < H; j++)
                logit += hs[t + 1][j] * v[j];
            out[t] = sigmoid(logit);
        }
        double carried[H] = {0};
        memset(du, 0, sizeof du);
        memset(dw, 0, sizeof dw);
        memset(dv, 0, sizeof dv);
        for (long t = T - 1; t >= 0; t--) {
            double error = out[t] - ys[t], d_out = error * out[t] * (1.0 - out[t]), d[H];
            const double *h = hs[t + 1], *before = hs[t];
            total += 0.5 * error * error;
            for (int j = 0; j < H; j++) {
                dv[j] += h[j] * d_out;
                d[j] = (d_out * v[j] + carried[j]) * h[j] * (1.0 - h[j]);
            }
            for (int i = 0; i < H; i++) {
                double sum = 0.0;
                for (int j = 0; j < H; j++) {
                    dw[i][j] += before[i] * d[j];
                    sum += w[i * H + j] * d[j];
                }
                carried[i] = sum;
            }
            for (int i = 0; i < D; i++)
                for (int j = 0; j < H; j++)
                    du[i][j] += xs[t * D + i] * d[j];
        }
        for (int i = 0; i < H; i++) {
            for (int j = 0; j < H; j++)
                w[i * H + j] -= rate * dw[i][j];
            v[i] -= rate * dv[i];
        }
        for (int i = 0; i < D; i++)
            for (int j = 0; j < H; j++)
                u[i * H + j] -= rate * du[i][j];
    }
    return total;
}
