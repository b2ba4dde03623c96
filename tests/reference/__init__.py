"""The kernels again as plain loops over float64, to judge the fast ones by.  Nothing here imports convkit."""
