package conf

import (
	"fmt"
	"strings"
)

// expand replaces ${NAME}, ${NAME:-default} and $$ in s; any other dollar stays as it is. used says whether a variable
// was named, in which case the result may be secret and must not be shown.
func expand(s string, lookup func(string) (string, bool), at Pos) (out string, used bool, problems Problems) {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i == len(s)-1 {
			b.WriteString(s)
			return b.String(), used, problems
		}
		b.WriteString(s[:i])
		switch s[i+1] {
		case '$':
			b.WriteByte('$')
			s = s[i+2:]
		case '{':
			end := closing(s[i+2:])
			if end < 0 {
				problems = append(problems, at.Problem("${ has no closing }", "write ${NAME}, or $$ where a dollar is meant"))
				b.WriteString(s[i:])
				return b.String(), used, problems
			}
			val, more := variable(s[i+2:i+2+end], lookup, at)
			b.WriteString(val)
			problems, used = append(problems, more...), true
			s = s[i+2+end+1:]
		default:
			b.WriteByte('$')
			s = s[i+1:]
		}
	}
}

// closing returns the index of the brace that ends a variable, stepping over variables within its default, or -1.
func closing(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '$' && i+1 < len(s) && s[i+1] == '$':
			i++
		case s[i] == '$' && i+1 < len(s) && s[i+1] == '{':
			depth++
			i++
		case s[i] == '}' && depth == 0:
			return i
		case s[i] == '}':
			depth--
		}
	}
	return -1
}

// variable returns the value of what stands between the braces. As in a shell, a default also replaces an empty value.
func variable(expr string, lookup func(string) (string, bool), at Pos) (string, Problems) {
	name, fallback, hasDefault := strings.Cut(expr, ":-")
	if !isName(name) {
		return "", Problems{at.Problem(fmt.Sprintf("${%s} does not name an environment variable", name),
			"write ${NAME} or ${NAME:-default}, or $${ where a dollar is meant")}
	}
	val, ok := lookup(name)
	if hasDefault && val == "" {
		out, _, problems := expand(fallback, lookup, at)
		return out, problems
	}
	if !ok {
		return "", Problems{at.Problem("the environment variable "+name+" is not set", "set it, or write ${"+name+":-default}")}
	}
	return val, nil
}

func isName(s string) bool {
	for i, c := range s {
		letter := c == '_' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
