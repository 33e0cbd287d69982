package expr_test

import (
	"testing"

	"kemi.dev/kemi/processors/rule/expr"
)

func TestTheLevelThatAValueIsComparedWithIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"cpu > 0.9":                                  "> 0.9",
		"(free_bytes) <= (10 * 1e6)":                 "<= 10 * 1000000",
		"5 < temperature":                            "> 5",
		"100 >= rate(x[5m])":                         "<= 100",
		"rate(octets[5m]) * 8 > 0.95 * speed":        "> 0.95 * speed",
		"load > 8 and on(target) up == 1":            "> 8",
		"(load > 8 unless batch) unless maintenance": "> 8",
		"up == 0":        "",
		"up != 1":        "",
		"x > bool 3":     "",
		"a > 1 or b > 2": "",
		"up":             "",
		"x + 1":          "",
	} {
		p, problems := expr.Parse(text)
		if len(problems) > 0 {
			t.Errorf("%s: %v", text, problems)
			continue
		}
		if got := p.Threshold(); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
