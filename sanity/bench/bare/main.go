// Command bare does nothing: what else starts takes longer than that.
package main

func main() {}
