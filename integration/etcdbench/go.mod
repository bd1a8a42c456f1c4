module github.com/kvorum/kvorum/integration/etcdbench

go 1.26.0

replace github.com/kvorum/kvorum => ../..
