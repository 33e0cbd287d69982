package source_test

import (
	"strings"
	"testing"

	"kemi.dev/kemi/cmdb/source"
	"kemi.dev/kemi/internal/conf"
)

func TestAddressesAreJudgedByTheirForm(t *testing.T) {
	at := conf.Pos{File: "f", Line: 1, Column: 2}
	for _, good := range []string{
		"core-1", "core-1.example.net", "core-1.example.net.", "_sip.example", "10.0.0.1", "10.0.0.1:161", "core-1:161", "::1", "fe80::1%eth0",
		"[::1]", "[::1]:161", "[fe80::1%eth0]:161", "http://10.0.0.1", "https://shop.example:8443/health?x=1", "http://[::1]:80/", "3com",
	} {
		if problems := source.Address(at, good); problems != nil {
			t.Errorf("%s: %v", good, problems)
		}
	}
	for bad, want := range map[string]string{
		"": "it is empty", "10.0.0": "not an IP address", "10.0.0.256": "not an IP address", "10.0.0.256:161": "not an IP address",
		"host:": "port", "host:0": "port", "host:65536": "port", "host:http": "port", ":161": "the host is missing", "a:b:c": "more than one colon",
		"::1:": "more than one colon", "[::1": "not closed", "[::1]161": "follows the bracket", "[10.0.0.1]:1": "not an IPv6", "[::1]:x": "port",
		"a b": "' '", "a/b": "'/'", "-a": "hyphen", "a-.b": "hyphen", "a..b": "empty", "münchen": "'ü'", "ftp://a": "neither http nor https",
		"http://": "host is missing", "http://a:99999": "port", "http://a:": "port", "http://u:secret@a/": "credential", "http://a b/": "not a URL",
		strings.Repeat("a", 64): "63", strings.Repeat("a.", 127): "253",
	} {
		problems := source.Address(at, bad)
		if len(problems) != 1 || !strings.Contains(problems.Error(), want) || problems[0].Line != 1 || problems[0].Column != 2 {
			t.Errorf("%q: %v, want %q", bad, problems, want)
		}
		if strings.Contains(problems.Error(), "secret") {
			t.Errorf("%q: the message shows the password", bad)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"10.0.0.1:161", "[::1]:161", "http://[::1]:80/x", "a.b-c", "fe80::1%eth0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if problems := source.Address(conf.Pos{}, s); problems == nil && strings.ContainsAny(s, " \n\x00") && !strings.Contains(s, "://") && !strings.Contains(s, "%") {
			t.Errorf("%q was taken", s)
		}
	})
}
