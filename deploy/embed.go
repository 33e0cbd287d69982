// Package deploy carries what is shipped beside the code.
//
// In: nothing. Out: the default rules, as files.
// It promises that the binary has what the repository shows. It never reads anything at run time.
package deploy

import "embed"

// Rules holds rules/default.yaml, which `kemi run` uses when the configuration names no rules.
//
//go:embed rules/*.yaml
var Rules embed.FS
