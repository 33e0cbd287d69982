package expr

import "math"

// rangeFunc computes one value from the samples of a window, which are those after t-reach and not after t (Unix
// milliseconds); arg is the function's scalar argument. False means that there are too few samples.
type rangeFunc func(ps []point, t, reach int64, arg float64) (float64, bool)

// rangeFuncs are the functions over windows. Their results are Prometheus' to the last digits: the differential test
// holds them to it.
func rangeFuncs() map[string]rangeFunc {
	return map[string]rangeFunc{
		"rate": func(ps []point, t, reach int64, _ float64) (float64, bool) {
			return extrapolate(ps, t, reach, true, true)
		},
		"increase": func(ps []point, t, reach int64, _ float64) (float64, bool) {
			return extrapolate(ps, t, reach, true, false)
		},
		"delta": func(ps []point, t, reach int64, _ float64) (float64, bool) {
			return extrapolate(ps, t, reach, false, false)
		},
		"irate":             func(ps []point, _, _ int64, _ float64) (float64, bool) { return lastStep(ps, true) },
		"idelta":            func(ps []point, _, _ int64, _ float64) (float64, bool) { return lastStep(ps, false) },
		"avg_over_time":     mean,
		"sum_over_time":     total,
		"min_over_time":     func(ps []point, _, _ int64, _ float64) (float64, bool) { return extreme(ps, false) },
		"max_over_time":     func(ps []point, _, _ int64, _ float64) (float64, bool) { return extreme(ps, true) },
		"count_over_time":   func(ps []point, _, _ int64, _ float64) (float64, bool) { return float64(len(ps)), len(ps) > 0 },
		"last_over_time":    newest,
		"present_over_time": func(ps []point, _, _ int64, _ float64) (float64, bool) { return 1, len(ps) > 0 },
		"changes":           changes,
		"resets":            resets,
		"deriv": func(ps []point, _, _ int64, _ float64) (float64, bool) {
			if len(ps) < 2 {
				return 0, false
			}
			slope, _ := line(ps, ps[0].t)
			return slope, true
		},
		"predict_linear": func(ps []point, t, _ int64, ahead float64) (float64, bool) {
			if len(ps) < 2 {
				return 0, false
			}
			slope, at := line(ps, t)
			return slope*ahead + at, true
		},
	}
}

// extrapolate is the difference between the last and the first sample, corrected for counter resets and extended to
// the edges of the window, as Prometheus documents for rate, increase and delta.
func extrapolate(ps []point, t, reach int64, counter, perSecond bool) (float64, bool) {
	n := len(ps)
	if n < 2 {
		return 0, false
	}
	first, last := ps[0], ps[n-1]
	diff := last.v - first.v
	if counter {
		before := first.v
		for i := 1; i < n; i++ {
			v := ps[i].v
			if v < before {
				diff += before
			}
			before = v
		}
	}
	toStart := float64(first.t-(t-reach)) / 1000
	toEnd := float64(t-last.t) / 1000
	covered := float64(last.t-first.t) / 1000
	step := covered / float64(n-1)
	// A gap at an edge that is longer than the usual step means that the series begins or ends within the window: it
	// is extended by half a step only.
	longest := step * 1.1
	if toStart >= longest {
		toStart = step / 2
	}
	if counter && diff > 0 && first.v >= 0 {
		// A counter was never below zero: it cannot have begun before the line through it meets zero.
		if toZero := covered * (first.v / diff); toZero < toStart {
			toStart = toZero
		}
	}
	if toEnd >= longest {
		toEnd = step / 2
	}
	factor := (covered + toStart + toEnd) / covered
	if perSecond {
		factor /= float64(reach) / 1000
	}
	return diff * factor, true
}

// lastStep is the difference of the last two samples; of a counter it is per second and sees resets.
func lastStep(ps []point, counter bool) (float64, bool) {
	n := len(ps)
	if n < 2 {
		return 0, false
	}
	a, b := ps[n-2], ps[n-1]
	v := b.v
	if !counter || !(b.v < a.v) {
		v = b.v - a.v
	}
	if counter {
		v /= float64(b.t-a.t) / 1000
	}
	return v, true
}

// add is one step of Neumaier's compensated summation: the lost low-order part is carried in c.
func add(x, sum, c float64) (newSum, newC float64) {
	t := sum + x
	switch {
	case math.IsInf(t, 0):
		c = 0
	case math.Abs(sum) >= math.Abs(x):
		c += float64(sum-t) + x
	default:
		c += float64(x-t) + sum
	}
	return float64(t), float64(c)
}

func total(ps []point, _, _ int64, _ float64) (float64, bool) {
	var sum, c float64
	for i := range ps {
		sum, c = add(ps[i].v, sum, c)
	}
	if !math.IsInf(sum, 0) {
		sum += c
	}
	return sum, len(ps) > 0
}

// mean is the sum divided by the count; if the sum overflows it goes on with a running mean.
func mean(ps []point, _, _ int64, _ float64) (float64, bool) {
	if len(ps) == 0 {
		return 0, false
	}
	sum, c := ps[0].v, 0.0
	for i := 1; i < len(ps); i++ {
		next, nextC := add(ps[i].v, sum, c)
		if math.IsInf(next, 0) {
			return runningMean(ps, i, sum, c), true
		}
		sum, c = next, nextC
	}
	n := float64(len(ps))
	return sum/n + c/n, true
}

// runningMean continues a mean of the first n samples, whose sum is known, without summing further.
func runningMean(ps []point, n int, sum, c float64) float64 {
	mean := sum / float64(n)
	c /= float64(n)
	for i := n; i < len(ps); i++ {
		count := float64(i + 1)
		q := (count - 1) / count
		mean, c = add(ps[i].v/count, q*mean, q*c)
	}
	return mean + c
}

func extreme(ps []point, highest bool) (float64, bool) {
	if len(ps) == 0 {
		return 0, false
	}
	best := ps[0].v
	for i := 1; i < len(ps); i++ {
		if v := ps[i].v; math.IsNaN(best) || (highest && v > best) || (!highest && v < best) {
			best = v
		}
	}
	return best, true
}

func newest(ps []point, _, _ int64, _ float64) (float64, bool) {
	if len(ps) == 0 {
		return 0, false
	}
	return ps[len(ps)-1].v, true
}

func changes(ps []point, _, _ int64, _ float64) (float64, bool) {
	n := 0
	for i := 1; i < len(ps); i++ {
		a, b := ps[i-1].v, ps[i].v
		if a != b && !(math.IsNaN(a) && math.IsNaN(b)) {
			n++
		}
	}
	return float64(n), len(ps) > 0
}

func resets(ps []point, _, _ int64, _ float64) (float64, bool) {
	n := 0
	for i := 1; i < len(ps); i++ {
		if ps[i].v < ps[i-1].v {
			n++
		}
	}
	return float64(n), len(ps) > 0
}

// line fits a straight line through the samples: its slope per second and its value at a time.
func line(ps []point, at int64) (slope, level float64) {
	var sx, cx, sy, cy, sxy, cxy, sxx, cxx float64
	flat := true
	for i := range ps {
		x, y := float64(ps[i].t-at)/1e3, ps[i].v
		flat = flat && (i == 0 || y == ps[0].v)
		sx, cx = add(x, sx, cx)
		sy, cy = add(y, sy, cy)
		sxy, cxy = add(x*y, sxy, cxy)
		sxx, cxx = add(x*x, sxx, cxx)
	}
	if flat {
		if math.IsInf(ps[0].v, 0) {
			return math.NaN(), math.NaN()
		}
		return 0, ps[0].v
	}
	sx, sy, sxy, sxx = sx+cx, sy+cy, sxy+cxy, sxx+cxx
	n := float64(len(ps))
	slope = (sxy - sx*sy/n) / (sxx - sx*sx/n)
	return slope, sy/n - slope*sx/n
}

// mapFuncs are the functions that look at one value only.
func mapFuncs() map[string]func(float64) float64 {
	return map[string]func(float64) float64{
		"abs": math.Abs, "ceil": math.Ceil, "floor": math.Floor, "sqrt": math.Sqrt, "exp": math.Exp,
		"ln": math.Log, "log2": math.Log2, "log10": math.Log10,
		"sgn": func(v float64) float64 {
			switch {
			case v < 0:
				return -1
			case v > 0:
				return 1
			}
			return v
		},
	}
}
