module example.com/shortlinks

go 1.26.0
