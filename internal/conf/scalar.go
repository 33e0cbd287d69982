package conf

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"strconv"
)

const oneValue = "write a single value"

// typed returns what a number or truth value is to be taken from. Text that came from the environment counts as what it
// looks like even in quotes, because flow mappings cannot hold ${NAME} without them.
func typed(n Node) any {
	if n.Kind() != Scalar {
		return nil
	}
	if n.v.source != "" {
		return resolve(n.v.text)
	}
	return n.v.data
}

func (d *decoder) scalar(n Node, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if n.Kind() != Scalar {
			d.wrong(n, "text", textAdvice(n))
			return
		}
		v.SetString(n.v.text)
	case reflect.Bool:
		b, ok := typed(n).(bool)
		if !ok {
			d.wrong(n, "true or false", "write true or false")
			return
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		d.whole(n, v)
	case reflect.Float32, reflect.Float64:
		f, ok := asFloat(typed(n))
		if !ok {
			d.wrong(n, "a number", "write a number, like 10 or 0.5")
			return
		}
		v.SetFloat(f)
	default:
		panic(fmt.Sprintf("conf: a field of type %s cannot be configured", v.Type()))
	}
}

func textAdvice(n Node) string {
	if n.Kind() == Null {
		return "write a value after the colon, or remove the key"
	}
	return oneValue
}

// whole decodes a whole number; numbers such as 1e6 count when they are whole.
func (d *decoder) whole(n Node, v reflect.Value) {
	data := typed(n)
	if f, ok := data.(float64); ok && f == math.Trunc(f) && math.Abs(f) < 1<<63 {
		if f < 0 {
			data = int64(f)
		} else {
			data = uint64(f)
		}
	}
	lowest, highest := limits(v.Type())
	switch i := data.(type) {
	case int64:
		if i >= lowest && (i < 0 || uint64(i) <= highest) {
			if v.CanInt() {
				v.SetInt(i)
			} else {
				v.SetUint(uint64(i))
			}
			return
		}
	case uint64:
		if i <= highest {
			if v.CanInt() {
				v.SetInt(int64(i))
			} else {
				v.SetUint(i)
			}
			return
		}
	default:
		d.wrong(n, "a whole number", "write digits only, like 10")
		return
	}
	d.wrong(n, fmt.Sprintf("a whole number from %d to %d", lowest, highest), "write a number in this range")
}

func limits(t reflect.Type) (lowest int64, highest uint64) {
	bits := t.Bits()
	if t.Kind() >= reflect.Int && t.Kind() <= reflect.Int64 {
		return -1 << (bits - 1), 1<<(bits-1) - 1
	}
	return 0, math.MaxUint64 >> (64 - bits)
}

func asFloat(data any) (float64, bool) {
	switch x := data.(type) {
	case float64:
		return x, true
	case int64:
		return float64(x), true
	case uint64:
		return float64(x), true
	default:
		return 0, false
	}
}

func plainScalar(data any) any {
	switch x := data.(type) {
	case int64:
		return int(x)
	case uint64:
		if x <= math.MaxInt {
			return int(x)
		}
	}
	return data
}

func (d *decoder) duration(n Node, v reflect.Value) {
	if n.Kind() == Scalar {
		if length, err := ParseDuration(n.v.text); err == nil {
			v.SetInt(int64(length))
			return
		}
		if _, isNumber := asFloat(typed(n)); isNumber && n.v.source == "" {
			d.wrong(n, "a duration", "add a unit, like "+strconv.Quote(n.v.text+"s"))
			return
		}
	}
	d.wrong(n, "a duration", "write it like 500ms, 10s, 5m, 12h or 15d")
}

func (d *decoder) unmarshalText(n Node, own encoding.TextUnmarshaler) {
	if n.Kind() != Scalar {
		d.wrong(n, "text", textAdvice(n))
		return
	}
	if err := own.UnmarshalText([]byte(n.v.text)); err != nil {
		about := "value"
		if d.key != "" {
			about = strconv.Quote(d.key)
		}
		if n.v.source != "" {
			d.complain(n, fmt.Sprintf("%s cannot be read from the value of %q", about, n.v.source), "correct the environment variable")
			return
		}
		d.complain(n, fmt.Sprintf("%s cannot be read: %s", about, err), "correct the value")
	}
}
