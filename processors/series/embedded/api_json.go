package embedded

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
)

// reply is an answer in its final form: it holds nothing of the store's.
type reply struct {
	status int
	body   []byte
}

// success makes an answer. Results of queries are written by hand: they may have millions of points.
func success(data any, warnings, infos []string) reply {
	buf := append(make([]byte, 0, 4096), `{"status":"success","data":`...)
	switch v := data.(type) {
	case promql.Vector:
		buf = append(buf, `{"resultType":"vector","result":[`...)
		for i := range v {
			buf = comma(buf, i)
			buf = append(appendLabels(append(buf, `{"metric":`...), v[i].Metric), `,"value":`...)
			buf = append(appendPoint(buf, v[i].T, v[i].F), '}')
		}
		buf = append(buf, "]}"...)
	case promql.Matrix:
		buf = append(buf, `{"resultType":"matrix","result":[`...)
		for i := range v {
			buf = comma(buf, i)
			buf = append(appendLabels(append(buf, `{"metric":`...), v[i].Metric), `,"values":[`...)
			for k, p := range v[i].Floats {
				buf = appendPoint(comma(buf, k), p.T, p.F)
			}
			buf = append(buf, "]}"...)
		}
		buf = append(buf, "]}"...)
	case promql.Scalar:
		buf = append(appendPoint(append(buf, `{"resultType":"scalar","result":`...), v.T, v.V), '}')
	case promql.String:
		buf = appendTime(append(buf, `{"resultType":"string","result":[`...), v.T)
		buf = append(appendString(append(buf, ','), v.V), "]}"...)
	case []labels.Labels:
		buf = append(buf, '[')
		for i, ls := range v {
			buf = appendLabels(comma(buf, i), ls)
		}
		buf = append(buf, ']')
	case []string:
		buf = appendStrings(buf, v)
	default:
		text, err := json.Marshal(v)
		if err != nil {
			return failure(err)
		}
		buf = append(buf, text...)
	}
	if len(warnings) > 0 {
		buf = appendStrings(append(buf, `,"warnings":`...), warnings)
	}
	if len(infos) > 0 {
		buf = appendStrings(append(buf, `,"infos":`...), infos)
	}
	return reply{http.StatusOK, append(buf, '}')}
}

// failure makes the answer of an error.
func failure(err error) reply {
	e := classify(err)
	buf := appendString([]byte(`{"status":"error","errorType":`), e.kind)
	buf = append(appendString(append(buf, `,"error":`...), e.Error()), '}')
	return reply{e.status, buf}
}

func (r reply) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(r.body)))
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body) // Whoever asked is gone when this fails.
}

func comma(buf []byte, i int) []byte {
	if i == 0 {
		return buf
	}
	return append(buf, ',')
}

func appendLabels(buf []byte, ls labels.Labels) []byte {
	buf = append(buf, '{')
	i := 0
	ls.Range(func(l labels.Label) {
		buf = appendString(comma(buf, i), l.Name)
		buf = appendString(append(buf, ':'), l.Value)
		i++
	})
	return append(buf, '}')
}

func appendStrings(buf []byte, all []string) []byte {
	buf = append(buf, '[')
	for i, s := range all {
		buf = appendString(comma(buf, i), s)
	}
	return append(buf, ']')
}

func appendString(buf []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			text, _ := json.Marshal(s) // A string always has a JSON form.
			return append(buf, text...)
		}
	}
	return append(append(append(buf, '"'), s...), '"')
}

// appendPoint writes [seconds, "value"], as Prometheus does: a value in text survives every JSON parser.
func appendPoint(buf []byte, t int64, v float64) []byte {
	buf = append(appendTime(append(buf, '['), t), ',', '"')
	form := byte('f')
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		form = 'e'
	}
	return append(strconv.AppendFloat(buf, v, form, -1, 64), '"', ']')
}

// appendTime writes milliseconds as seconds.
func appendTime(buf []byte, ms int64) []byte {
	if ms < 0 {
		buf, ms = append(buf, '-'), -ms
	}
	buf = strconv.AppendInt(buf, ms/1000, 10)
	if rest := ms % 1000; rest != 0 {
		buf = append(buf, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
	}
	return buf
}
