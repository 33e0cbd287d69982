// Package arch holds the import table of the house, as a test.
//
// In: the project's packages as `go list` sees them. Out: every import that the table forbids.
// It promises that rooms never import one another and that plug-ins see only their room's leaf.
// It never looks inside a package.
package arch
