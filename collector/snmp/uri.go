package snmp

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"kemi.dev/kemi/internal/conf"
)

// ParseURI reads a target with its credential in one word, "2c:public@127.0.0.1:1161". The credential is in the form
// the configuration has it, {snmp: {…}}.
func ParseURI(s string) (credential conf.Node, address string, err error) {
	const form = "write it as 2c:COMMUNITY@HOST:PORT"
	version, rest, ok := strings.Cut(s, ":")
	if !ok {
		return conf.Node{}, "", errors.New("the target has no version: " + form)
	}
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return conf.Node{}, "", errors.New("the target has no @ between community and address: " + form)
	}
	community, address := rest[:at], rest[at+1:]
	if address == "" {
		return conf.Node{}, "", errors.New("the target has no address: " + form)
	}
	text, err := json.Marshal(map[string]any{"snmp": map[string]string{"version": version, "community": community}})
	if err != nil {
		return conf.Node{}, "", fmt.Errorf("read target: %w", err)
	}
	nodes, problems := conf.ParseRaw("", text)
	if err := problems.Err(); err != nil {
		return conf.Node{}, "", fmt.Errorf("read target: %w: %s", err, form)
	}
	c := Default()
	if problems := nodes[0].Get("snmp").Into(&c); len(problems) > 0 {
		return conf.Node{}, "", fmt.Errorf("%s: %s: %s", problems[0].What, problems[0].Do, form)
	}
	if _, _, err := splitAddress(address, c.Port); err != nil {
		return conf.Node{}, "", fmt.Errorf("%w: %s", err, form)
	}
	return nodes[0], address, nil
}
