
bhcarmf1hgtmc0krbf1r030tdotor-1switch"127.1.0.2:1161*network2class2site2target2team:switch:dc1:tor-1:networkBsnmpJsnmpR
interfacesZlabhöåãàŸ4p†´äàŸ4xN‚scheduleŠdefault