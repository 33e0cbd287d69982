package source

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

const addressForms = "write a host name, an IP address, either with :port, [v6]:port, or an http(s) URL"

// Address says what is wrong with the form of an address: a host name, an IP address, either of them with a port (an
// IPv6 address then in brackets), or an http or https URL. It looks nothing up.
func Address(at conf.Pos, address string) conf.Problems {
	err := checkAddress(address)
	if errors.Is(err, errUserInfo) {
		// The address is not shown: it holds a password.
		return conf.Problems{at.Problem("the address does not parse: "+err.Error(), "take them out and name a credential in the check")}
	}
	if err != nil {
		return conf.Problems{at.Problem(fmt.Sprintf("the address %q does not parse: %s", address, err), addressForms)}
	}
	return nil
}

var errUserInfo = errors.New("the URL holds a user name or password, which would be seen by everybody")

func checkAddress(s string) error {
	if s == "" {
		return fmt.Errorf("it is empty")
	}
	if scheme, _, isURL := strings.Cut(s, "://"); isURL {
		return checkURL(scheme, s)
	}
	if strings.HasPrefix(s, "[") {
		inner, rest, closed := strings.Cut(s[1:], "]")
		if !closed {
			return fmt.Errorf("the bracket is not closed")
		}
		if ip, err := netip.ParseAddr(inner); err != nil || !ip.Is6() {
			return fmt.Errorf("%q is not an IPv6 address", inner)
		}
		if rest == "" {
			return nil
		}
		port, ok := strings.CutPrefix(rest, ":")
		if !ok {
			return fmt.Errorf("%q follows the bracket", rest)
		}
		return checkPort(port)
	}
	if ip, err := netip.ParseAddr(s); err == nil && ip.Is6() {
		return nil
	}
	host, port, hasPort := strings.Cut(s, ":")
	if strings.Contains(port, ":") {
		return fmt.Errorf("it is not an IPv6 address, and has more than one colon")
	}
	if hasPort {
		if err := checkPort(port); err != nil {
			return err
		}
	}
	return checkHost(host)
}

// checkURL takes http and https URLs without user information, which would end up in labels and logs.
func checkURL(scheme, s string) error {
	if scheme != "http" && scheme != "https" {
		return fmt.Errorf("the scheme %q is neither http nor https", scheme)
	}
	u, err := url.Parse(s)
	if err != nil {
		return fmt.Errorf("it is not a URL")
	}
	if u.User != nil {
		return errUserInfo
	}
	if p := u.Port(); p != "" || strings.HasSuffix(u.Host, ":") {
		if err := checkPort(p); err != nil {
			return err
		}
	}
	return checkHost(u.Hostname())
}

func checkPort(s string) error {
	if n, err := strconv.ParseUint(s, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("the port %q is not a number from 1 to 65535", s)
	}
	return nil
}

// checkHost takes IP addresses, the host names of RFC 1123 and the underscore that service names have. A name of digits and dots alone
// is a mistyped IP address.
func checkHost(s string) error {
	if s == "" {
		return fmt.Errorf("the host is missing")
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return nil
	}
	if len(s) > 253 {
		return fmt.Errorf("the host name is longer than 253 characters")
	}
	if strings.Trim(s, "0123456789.") == "" {
		return fmt.Errorf("%q is not an IP address", s)
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 {
			return fmt.Errorf("%q has a part that is empty or longer than 63 characters", s)
		}
		for _, c := range label {
			if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
				return fmt.Errorf("%q is not allowed in a host name", c)
			}
		}
		if label[0] == '-' || label[len(label)-1] == '-' {
			return fmt.Errorf("%q begins or ends with a hyphen", label)
		}
	}
	return nil
}

// Name says what is wrong with the name of a target or class: it is written in rules, URLs and shells.
func Name(at conf.Pos, what, name string) conf.Problems {
	bad := func(why string) conf.Problems {
		return conf.Problems{at.Problem(fmt.Sprintf("%q cannot be the name of a %s: %s", name, what, why),
			"use up to 200 letters, digits and the characters - _ . : / @ +")}
	}
	switch {
	case name == "":
		return bad("it is empty")
	case len(name) > 200:
		return bad("it is longer than 200 bytes")
	case name == event.CanaryTarget:
		return bad("Kemi's own canary has it")
	}
	for _, c := range name {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune("-_.:/@+", c) {
			return bad(fmt.Sprintf("it contains %q", c))
		}
	}
	return nil
}

// Label says what is wrong with the name of a label, which becomes a label of every series of the target.
func Label(at conf.Pos, name string) conf.Problems {
	switch name {
	case "target", "class", "team":
		return conf.Problems{at.Problem(fmt.Sprintf("the label %q is set by Kemi itself", name), "remove it; class and team are keys of the target")}
	}
	for i, c := range name {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return conf.Problems{at.Problem(fmt.Sprintf("%q is not a label name", name), "use letters, digits and _, beginning with a letter")}
		}
	}
	if name == "" || strings.HasPrefix(name, "__") {
		return conf.Problems{at.Problem(fmt.Sprintf("%q is not a label name", name), "use letters, digits and _, beginning with a letter")}
	}
	return nil
}
