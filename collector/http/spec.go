package http

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"kemi.dev/kemi/internal/conf"
)

// Spec is what a check asks and expects. Settings travel on the bus: secrets belong into a credential.
type Spec struct {
	// Path is put behind the target's address; it may have a query.
	Path   string `json:"path,omitempty"`
	Method string `json:"method,omitempty"`
	// Headers are set on the request; Host replaces the one that is asked for. Those that are usually secret are refused.
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body,omitempty"`
	Expect  Expect            `json:"expect"`
	Timeout time.Duration     `json:"timeout,omitempty"`
	// FollowRedirects goes where a redirect points to, at most ten times; else the redirect is the answer.
	FollowRedirects bool `json:"follow_redirects,omitempty" yaml:"follow_redirects"`
	// InsecureSkipVerify believes every certificate.
	InsecureSkipVerify bool `json:"insecure_skip_verify,omitempty" yaml:"insecure_skip_verify"`
}

// Expect says which answers are well.
type Expect struct {
	// Status lists codes and classes of codes: "200", "2xx". Empty means 2xx.
	Status Statuses `json:"status,omitempty"`
	// Body is a regular expression (RE2) that the first mebibyte of the body matches; Contains is text that is in it.
	Body     string `json:"body,omitempty"`
	Contains string `json:"contains,omitempty"`
	// MaxLatency is how long the whole answer may take; 0 is no limit but the timeout.
	MaxLatency time.Duration `json:"max_latency,omitempty" yaml:"max_latency"`
}

// Statuses is a list of codes and classes; in a file also a single one.
type Statuses []string

// UnmarshalConf implements conf.Unmarshaler.
func (s *Statuses) UnmarshalConf(n conf.Node) (problems conf.Problems) {
	items := n.Items()
	if n.Kind() == conf.Scalar {
		items = []conf.Node{n}
	}
	if len(items) == 0 {
		return conf.Problems{n.Problem("status is neither a code nor a list of codes", `write 200, [200, 204] or "2xx"`)}
	}
	*s = nil
	for _, item := range items {
		if text := strings.ToLower(item.Text()); item.Kind() == conf.Scalar && isStatus(text) {
			*s = append(*s, text)
			continue
		}
		problems = append(problems, item.Problem(fmt.Sprintf("%q is no HTTP status", item.Text()), `write a code from 100 to 599, or a class like "2xx"`))
	}
	return problems
}

func isStatus(s string) bool {
	if len(s) == 3 && s[1:] == "xx" {
		return s[0] >= '1' && s[0] <= '5'
	}
	n, err := strconv.Atoi(s)
	return err == nil && n >= 100 && n <= 599
}

func (s Statuses) match(code int) bool {
	if len(s) == 0 {
		return code/100 == 2
	}
	text := strconv.Itoa(code)
	return slices.ContainsFunc(s, func(want string) bool {
		return want == text || want[1:] == "xx" && want[0] == text[0]
	})
}

func (s Statuses) String() string {
	if len(s) == 0 {
		return "2xx"
	}
	return strings.Join(s, " or ")
}

const maxTimeout = 5 * time.Minute

func defaultSpec() Spec { return Spec{Method: http.MethodGet, Timeout: 10 * time.Second} }

// Validate implements conf.Validator.
func (s *Spec) Validate() (all []conf.Complaint) {
	complain := func(field, what, do string) {
		all = append(all, conf.Complaint{Field: field, What: what, Do: do})
	}
	if u, err := url.Parse(s.Path); err != nil || u.IsAbs() || u.Host != "" || u.Fragment != "" {
		complain("path", fmt.Sprintf("%q is no path", s.Path), "write it like /health; the host is the target's address")
	}
	if !httpguts.ValidHeaderFieldName(s.Method) || s.Method != strings.ToUpper(s.Method) {
		complain("method", fmt.Sprintf("%q is no HTTP method", s.Method), "use one like GET, HEAD or POST")
	}
	for name, value := range s.Headers {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			complain("headers."+name, fmt.Sprintf("%q cannot be a header", name), "use letters, digits and -, and a value without line ends")
		}
		switch {
		case strings.EqualFold(name, "authorization"):
			complain("headers."+name, "an authorization would travel on the bus", "make it a credential: {http: {username: …, password_file: …}} or {http: {bearer_file: …}}")
		case isSecret(name):
			complain("headers."+name, name+" would travel on the bus for all to see", "make it a credential: {http: {headers: {"+name+": …}}}")
		}
	}
	if s.Timeout <= 0 || s.Timeout > maxTimeout {
		complain("timeout", fmt.Sprintf("a timeout of %s", s.Timeout), fmt.Sprintf("use more than 0 and at most %s", maxTimeout))
	}
	if _, err := regexp.Compile(s.Expect.Body); err != nil {
		complain("expect.body", fmt.Sprintf("the regular expression cannot be read: %v", err), "correct it, or use contains for plain text")
	}
	if s.Expect.Body != "" && s.Expect.Contains != "" {
		complain("expect.contains", "both body and contains are given", "keep one of the two")
	}
	if s.Expect.MaxLatency < 0 {
		complain("expect.max_latency", "a latency below zero", "use a duration like 500ms")
	}
	return all
}

// Spec implements poller.Poller.
func (*Poller) Spec(n conf.Node) (json.RawMessage, conf.Problems) {
	s := defaultSpec()
	if problems := n.Into(&s); len(problems) > 0 {
		return nil, problems
	}
	data, err := json.Marshal(s)
	if err != nil {
		return nil, conf.Problems{n.Problem("the settings cannot be kept ("+err.Error()+")", "correct them")}
	}
	return data, nil
}

// check is a compiled Spec.
type check struct {
	spec Spec
	body *regexp.Regexp // nil when any body is well
}

func compile(s Spec) (*check, error) {
	if bad := s.Validate(); len(bad) > 0 {
		return nil, fmt.Errorf("%s: %s", bad[0].What, bad[0].Do)
	}
	for _, want := range s.Expect.Status {
		if !isStatus(want) {
			return nil, fmt.Errorf("%q is no HTTP status", want)
		}
	}
	c := &check{spec: s}
	switch {
	case s.Expect.Body != "":
		c.body = regexp.MustCompile(s.Expect.Body)
	case s.Expect.Contains != "":
		c.body = regexp.MustCompile(regexp.QuoteMeta(s.Expect.Contains))
	}
	return c, nil
}
