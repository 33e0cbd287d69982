package post

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/internal/conf"
)

// Expect says which answers mean that a page was taken: many APIs answer 200 with an error inside.
type Expect struct {
	// Status lists the codes that do; empty is every 2xx.
	Status []int `yaml:"status"`
	// JSON is the path of a value in the answer, names and positions joined by dots: result.code, messages.0.status.
	JSON string `yaml:"json"`
	// Equals is what has to stand there, written as in the answer: 0, true, ok. Without it something has to be there that
	// is neither null nor false.
	Equals *Literal `yaml:"equals"`
	// Permanent lists values at that path that mean never: trying again does not help.
	Permanent []Literal `yaml:"permanent"`
	// Contains is text that has to be in the answer.
	Contains string `yaml:"contains"`
}

// Literal is a value as it is written, whether YAML takes it for text, a number or a truth.
type Literal string

// UnmarshalConf implements conf.Unmarshaler.
func (l *Literal) UnmarshalConf(n conf.Node) conf.Problems {
	if n.Kind() != conf.Scalar {
		return conf.Problems{n.Problem("expected a single value", "write it as in the answer: 0, true or ok")}
	}
	*l = Literal(n.Text())
	return nil
}

// Validate implements conf.Validator.
func (e *Expect) Validate() []conf.Complaint {
	var all []conf.Complaint
	for n, s := range e.Status {
		if s < 200 || s > 599 || s/100 == 3 {
			all = append(all, conf.Complaint{Field: "status." + strconv.Itoa(n), What: strconv.Itoa(s) + " is no status that a page can end with", Do: "use 200 to 299"})
		}
	}
	if e.JSON == "" && (e.Equals != nil || len(e.Permanent) > 0) {
		all = append(all, conf.Complaint{Field: "equals", What: "a value without its place in the answer", Do: "write json: result.code"})
	}
	if slices.Contains(strings.Split(e.JSON, "."), "") && e.JSON != "" {
		all = append(all, conf.Complaint{Field: "json", What: "the path has an empty part", Do: "write names and positions joined by dots: result.code"})
	}
	return all
}

// Check returns what Request.Check is to be; nil when the status is enough. Another value than the expected one is a refusal;
// of an answer without any nobody knows whether the page was taken.
func (e *Expect) Check() func(body []byte) error {
	if e == nil || e.JSON == "" && e.Contains == "" {
		return nil
	}
	return func(body []byte) error {
		if e.Contains != "" && !bytes.Contains(body, []byte(e.Contains)) {
			return fmt.Errorf("it does not contain %q", e.Contains)
		}
		if e.JSON == "" {
			return nil
		}
		found, err := at(body, e.JSON)
		if err != nil {
			return err
		}
		if e.Equals != nil && found == string(*e.Equals) || e.Equals == nil && found != "null" && found != "false" {
			return nil
		}
		err = fmt.Errorf("%s is %.100q", e.JSON, found)
		if e.Equals != nil {
			err = fmt.Errorf("%w, not %q", err, *e.Equals)
		}
		if slices.Contains(e.Permanent, Literal(found)) {
			return notify.Permanent(err)
		}
		return notify.NotArrived(err)
	}
}

var errNotJSON = errors.New("it is no JSON")

// at returns the value at a path as it is written, texts without their quotes.
func at(body []byte, path string) (string, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return "", errNotJSON
	}
	for part := range strings.SplitSeq(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			next, ok := in[part]
			if !ok {
				return "", fmt.Errorf("it has no %s", path)
			}
			v = next
		case []any:
			n, err := strconv.Atoi(part)
			if err != nil || n < 0 || n >= len(in) {
				return "", fmt.Errorf("it has no %s", path)
			}
			v = in[n]
		default:
			return "", fmt.Errorf("it has no %s", path)
		}
	}
	switch v := v.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	default:
		text, err := json.Marshal(v)
		return string(text), err
	}
}
