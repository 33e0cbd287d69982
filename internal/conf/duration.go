package conf

import (
	"errors"
	"math"
	"strings"
	"time"
)

var errDuration = errors.New("not a duration")

// ParseDuration reads Go's durations ("1h30m", "250ms", "-5s", "0") and also d for days of 24 hours and w for weeks:
// "15d", "1w2d12h".
func ParseDuration(s string) (time.Duration, error) {
	if !strings.ContainsAny(s, "dw") {
		return time.ParseDuration(s)
	}
	negative := strings.HasPrefix(s, "-")
	rest := strings.TrimLeft(s, "+-")
	if len(s)-len(rest) > 1 {
		return 0, errDuration
	}
	var total time.Duration
	for rest != "" {
		digits := strings.IndexFunc(rest, func(c rune) bool { return c != '.' && (c < '0' || c > '9') })
		if digits < 1 {
			return 0, errDuration
		}
		end := strings.IndexFunc(rest[digits:], func(c rune) bool { return c == '.' || (c >= '0' && c <= '9') })
		if end < 0 {
			end = len(rest) - digits
		}
		unit, scale := rest[digits:digits+end], time.Duration(1)
		switch unit {
		case "d":
			unit, scale = "h", 24
		case "w":
			unit, scale = "h", 7*24
		}
		part, err := time.ParseDuration(rest[:digits] + unit)
		if err != nil {
			return 0, errDuration
		}
		if part > math.MaxInt64/scale || total > math.MaxInt64-part*scale {
			return 0, errDuration
		}
		total += part * scale
		rest = rest[digits+end:]
	}
	if negative {
		total = -total
	}
	return total, nil
}
