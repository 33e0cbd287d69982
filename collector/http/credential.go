package http

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"kemi.dev/kemi/internal/conf"
)

// Config is a credential: who the check says it is.
type Config struct {
	Username string
	Password conf.Secret
	// Bearer is sent as a bearer token instead.
	Bearer conf.Secret
	// Headers are set on the request and go to the target alone: keys, cookies.
	Headers map[string]Header
}

// Header is the value of a header that is secret: `X-Api-Key: text` or `X-Api-Key: {value_file: path}`.
type Header struct {
	Value conf.Secret `yaml:"value"`
}

// UnmarshalConf implements conf.Unmarshaler.
func (h *Header) UnmarshalConf(n conf.Node) (problems conf.Problems) {
	type plain Header
	if n.Kind() == conf.Scalar {
		problems = n.Into(&h.Value)
	} else {
		problems = n.Into((*plain)(h))
	}
	if len(problems) == 0 && h.Value.IsZero() {
		return conf.Problems{n.Problem("the header is empty", "write its value, or {value_file: path}")}
	}
	return problems
}

// Default returns the empty credential.
func Default() Config { return Config{} }

// Validate implements conf.Validator.
func (c *Config) Validate() (all []conf.Complaint) {
	complain := func(field, what, do string) {
		all = append(all, conf.Complaint{Field: field, What: what, Do: do})
	}
	switch {
	case !c.Bearer.IsZero() && c.Username != "":
		complain("bearer", "both a user and a bearer token are given", "keep one of the two")
	case c.Bearer.IsZero() && c.Username == "" && len(c.Headers) == 0:
		complain("", "the credential is empty", "give username and password, bearer, or headers")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		value, field := c.Headers[name].Value, "headers."+name
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			complain(field, fmt.Sprintf("%q cannot be a header", name), "use letters, digits and -")
		case !httpguts.ValidHeaderFieldValue(value.Reveal()):
			complain(field, "the value of "+name+" cannot be that of a header", "leave out line ends and control characters")
		case strings.EqualFold(name, "authorization") && !c.Bearer.IsZero():
			complain(field, "both a bearer token and the header Authorization are given", "keep one of the two")
		case strings.EqualFold(name, "authorization") && c.Username != "":
			complain(field, "both a user and the header Authorization are given", "keep one of the two")
		}
	}
	return all
}

// sign puts the credential into a request.
func (c *Config) sign(req *http.Request) {
	for name, h := range c.Headers {
		req.Header.Set(name, h.Value.Reveal())
	}
	switch {
	case c.Username != "":
		req.SetBasicAuth(c.Username, c.Password.Reveal())
	case !c.Bearer.IsZero():
		req.Header.Set("Authorization", "Bearer "+c.Bearer.Reveal())
	}
}

// isSecret reports whether a header of that name usually holds what nobody else may know.
func isSecret(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "authorization", "proxy-authorization", "cookie", "set-cookie":
		return true
	}
	plain := strings.NewReplacer("-", "", "_", "").Replace(name)
	return slices.ContainsFunc([]string{"apikey", "accesskey", "authkey", "subscriptionkey", "token", "secret", "password", "passwd", "credential"}, func(word string) bool {
		return strings.Contains(plain, word)
	})
}

// strip takes off a request that goes on to another place what was meant for the first: all but who asks.
func strip(req, first *http.Request) {
	if req.URL.Host == first.URL.Host && (req.URL.Scheme == first.URL.Scheme || first.URL.Scheme == "http") {
		return
	}
	for name := range first.Header {
		if name != "User-Agent" {
			req.Header.Del(name)
		}
	}
}
