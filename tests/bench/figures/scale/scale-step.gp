# gnuplot scale-step.gp
set terminal svg size 600,360 dynamic font 'sans-serif,15' noenhanced
set output 'scale-step.svg'
set datafile separator tab
set datafile missing 'nan'
set linetype 1 linewidth 2 linecolor '#0072b2'
set linetype 2 linewidth 2 linecolor '#d55e00' dashtype '-'
set linetype 3 linewidth 2 linecolor '#009e73' dashtype '-.'
set linetype 4 linewidth 2 linecolor '#b0508a' dashtype '.'
set linetype 5 linewidth 2 linecolor '#8c6d1f'
set linetype 6 linewidth 2 linecolor '#3d8fc4' dashtype '-'
set linetype 7 linewidth 2 linecolor '#7a52b3' dashtype '-.'
set linetype 8 linewidth 2 linecolor '#c23b3b' dashtype '.'
set linetype 9 linewidth 2 linecolor '#5a7d2a'
set linetype 10 linewidth 2 linecolor '#6b6b6b' dashtype '-'
set linetype cycle 10
set border 3
set tics nomirror
set grid ytics linecolor '#d0d0d0'
set key outside bottom center horizontal
set title 'seconds of a step: median, least and largest repeat'
set object rectangle from screen 0,0 to screen 1,1 fillcolor '#ffffff' fillstyle solid noborder behind
set datafile separator comma
set datafile columnheaders
set logscale x 2
set xlabel 'ranks'
set yrange [0:*]
set xrange [0.85:2.35294]
set xtics (1, 2)
plot 'scale.csv' using (strcol('mode') eq 'strong' ? 0.99*column('ranks') : NaN):(column('step_s')):(column('step_s_low')):(column('step_s_high')) with yerrorlines title 'strong', \
     'scale.csv' using (strcol('mode') eq 'strong' ? column('ranks') : NaN):(column('predicted_s')) with linespoints dashtype 2 title 'strong, prediction', \
     'scale.csv' using (strcol('mode') eq 'weak' ? 1.01*column('ranks') : NaN):(column('step_s')):(column('step_s_low')):(column('step_s_high')) with yerrorlines title 'weak', \
     'scale.csv' using (strcol('mode') eq 'weak' ? column('ranks') : NaN):(column('predicted_s')) with linespoints dashtype 2 title 'weak, prediction'
