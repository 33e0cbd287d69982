package post

import (
	"cmp"
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strings"
)

// Hide writes a text without the secrets that are in it, in whatever way they are written there: pages of errors like to
// repeat the address. It goes before a text is cut, or a piece of a secret is left at its end.
func Hide(text string, secrets ...string) string {
	var all []string
	for _, s := range secrets {
		all = append(all, written(s)...)
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Compare(len(b), len(a)) }) // None is cut by one that is a part of it.
	for _, s := range all {
		text = strings.ReplaceAll(text, s, "<secret>")
	}
	return text
}

// written are the ways in which a secret may be repeated: as it is, in a URL, in JSON, in HTML, and of a URL also what
// comes after the host. What is too short to be a secret is in too many texts.
func written(secret string) []string {
	all := []string{secret}
	if u, err := url.Parse(secret); err == nil && u.Host != "" {
		all = append(all, u.RequestURI(), u.EscapedPath(), u.Path, u.RawQuery)
	}
	for _, s := range all {
		quoted, _ := json.Marshal(s) // A string has no other way of failing than being none.
		all = append(all, url.QueryEscape(s), url.PathEscape(s), strings.Trim(string(quoted), `"`), html.EscapeString(s))
	}
	return slices.DeleteFunc(all, func(s string) bool { return len(s) < 4 })
}
